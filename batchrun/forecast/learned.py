"""What rows will take, from what rows like them took: all attempts, re-asks, turns and tool steps of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import cast

import polars as pl

from batchrun.forecast.estimate import Range, projected
from batchrun.forecast.figures import number
from batchrun.forecast.sampling import RequestSample
from batchrun.forecast.taken import Taken, cached_share, cost_of, prompt_price
from batchrun.index import State
from batchrun.outcome import Usage
from batchrun.prices import Price
from batchrun.run_folder.checkpoint.samples import read_samples
from batchrun.survey.survey import Survey


@dataclass(frozen=True, slots=True)
class Samples:
    """Answered rows by the columns of `read_samples`; `older`: they answer an older prompt."""

    rows: pl.DataFrame
    older: bool


def samples(survey: Survey, states: pl.DataFrame) -> Samples:
    """The answered rows among `states` (see `index.match`) whose usage is known.

    Those that answer another request are taken only where there are no others.
    """
    usage = pl.col("usage").struct.field
    counted = usage("completion_tokens").is_not_null() & usage("prompt_tokens").is_not_null()
    refused = pl.col("usage").is_null() & (pl.col("status") == "failed") & (pl.col("calls") > 0)
    for kinds in ([State.OK, State.FAILED], [State.CHANGED, State.KEPT]):
        answered = states.filter(pl.col("state").is_in([int(kind) for kind in kinds]))
        rows = read_samples(survey.checkpoint, answered)
        if len(known := rows.filter(counted)):  # a call that was refused took nothing
            return Samples(pl.concat([known, rows.filter(refused)]), State.CHANGED in kinds)
    return Samples(rows.clear(), older=False)


def learned(
    known: Samples, sample: RequestSample, price: Price | None, fresh: Taken, *, alike: bool, in_batches: bool
) -> Taken:
    """What the rows of `sample` take by the samples `known`.

    `fresh` is what is assumed without samples: of an edited prompt only that knows the length. `alike`:
    prompts that begin alike go together, and more of them may come from a cache than of the samples.
    `in_batches`: the rows go by batches, and `price` is that.
    """
    rows = sample.rows
    usages = [Usage(**(usage or _NOTHING)) for usage in known.rows["usage"]]
    prompts = [float(usage.prompt_tokens or 0) for usage in usages]
    outputs = [float(usage.completion_tokens or 0) for usage in usages]
    calls = cast("list[int]", known.rows["calls"].to_list())
    sizes = _sizes(known, sample)
    prompt, cost = projected(prompts, rows, sizes, sample.size), None
    if costs := _costs(known, usages, price, in_batches=in_batches):
        cost = projected(costs, rows, *_by_prompt(costs, prompts, sizes, sample, price))
    if known.older:
        longer = fresh.prompts.likely - prompt.likely
        if cost and price:
            cost = cost.spanning(max(0.0, cost.likely + longer * prompt_price(price, prompts)))
        prompt = prompt.spanning(fresh.prompts.likely)
    asked, answers = projected(calls, rows), projected(outputs, rows)
    if sample.limit is not None and asked.high is not None:
        answers = answers.at_most(asked.high * sample.limit)
        most = _most(price, prompt, answers, asked)
        cost = cost.at_most(max(cost.likely, most)) if cost and most is not None else cost
    if cost and (alike or any(usage.cached_tokens for usage in usages)):
        cost = replace(cost, low=cost.low * (cached_share(price, usages) if price else 0.0))
    return Taken(
        prompts=prompt,
        outputs=answers,
        calls=asked,
        seconds=_seconds(known, rows, fresh),
        cost=cost,
        basis=_basis(known, fmean(prompts), fmean(outputs), fmean(calls)),
    )


def _sizes(known: Samples, sample: RequestSample) -> list[float]:
    """The estimate for each sample's first prompt as it is now; none where that says nothing of its usage."""
    sizes = [float(sample.prompt_tokens.get(index, 0)) for index in known.rows["row_index"]]
    return sizes if all(sizes) and not known.older else []


def _most(price: Price | None, prompt: Range, answers: Range, asked: Range) -> float | None:
    """What so much costs at most; None where that is not known."""
    if price is None or not prompt.high or not answers.high or not asked.high:
        return None
    return cost_of(price, prompt.high, answers.high, asked.high)


_NOTHING = {"prompt_tokens": 0, "completion_tokens": 0}


def _seconds(known: Samples, rows: int, fresh: Taken) -> Range:
    """How long one row is under way; what a batch took says nothing of that."""
    alone = known.rows.filter(pl.col("batched") == 0)["seconds"].fill_null(0).to_list()
    return projected(alone, rows).times(1 / rows) if alone else fresh.seconds


def _costs(known: Samples, usages: Sequence[Usage], price: Price | None, *, in_batches: bool) -> list[float]:
    """What each sample cost, or would cost now where it may have gone to another model, or another way, by a
    batch or by itself; empty: not known."""
    stated: list[float | None] = known.rows["cost_usd"].to_list()
    if known.older and price:
        stated = [None] * len(usages)
    alike = known.rows["batched"] == (known.rows["calls"] if in_batches else 0)
    if price or not in_batches:  # else a call of its own says what a batch costs at most
        stated = [cost if same else None for cost, same in zip(stated, alike, strict=True)]
    costs = [
        price.cost(usage) if cost is None and price else cost
        for cost, usage in zip(stated, usages, strict=True)
    ]
    return [cost for cost in costs if cost is not None] if None not in costs else []


def _by_prompt(
    costs: Sequence[float],
    prompts: Sequence[float],
    sizes: Sequence[float],
    sample: RequestSample,
    price: Price | None,
) -> tuple[list[float], float]:
    """What each sample, and all rows to do, would cost if only prompts differed: `projected`'s sizes."""
    if not sizes or price is None:
        return [], 0.0
    each = prompt_price(price, prompts) * sum(prompts) / sum(sizes)
    rest = max(0.0, fmean(costs) - each * fmean(sizes))
    return [each * one + rest for one in sizes], each * sample.size + rest * sample.rows


def _basis(known: Samples, prompt: float, output: float, calls: float) -> tuple[str, ...]:
    number_of = f"{len(known.rows):,} answered row{'s' if len(known.rows) > 1 else ''}"
    older = " of an older prompt" if known.older else ""
    tokens = f"{number(prompt)} + {number(output)} tokens"
    return (f"{number_of}{older}", f"{tokens} and {calls:.3g} call{'s' if calls != 1 else ''} a row")
