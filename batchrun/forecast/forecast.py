"""What asking for some rows will take: by what answered rows took, else by what the requests allow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from batchrun.forecast.assumed import answers_of, assumed
from batchrun.forecast.by_batch import Batches, batches_of, priced
from batchrun.forecast.canary import canary
from batchrun.forecast.estimate import Hindrance, Range, duration
from batchrun.forecast.figures import estimated_usd, number, spread
from batchrun.forecast.learned import Samples, learned, samples
from batchrun.forecast.pace import pace_of, tokens_counted, windowed
from batchrun.forecast.sampling import RequestSample, sample_requests
from batchrun.forecast.taken import Taken, cost_of
from batchrun.job import ANY_MODEL
from batchrun.prices import ModelPrices, Price
from batchrun.spending.caps import unpriced
from batchrun.survey.survey import Survey

_DEARER = 1.1
"""From this factor on a fallback is said to cost more."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What asking for `rows` rows will take.

    Attributes:
        rows: without those that fail before a call.
        sampled: the answered rows that it is told from; 0 where it is assumed.
        requests: calls; without answered rows, retries aside.
        cost_usd: None where no price is known.
        seconds: until all rows are done, and in `held_by` what holds them up most.
        at_once: calls under way at once; `reached`: as the last submit had them.
        per_million: `Price.document` of the first model.
        basis: what it is told from.
        notes: what it leaves out, a sentence each.
        unpriced: what to do for a cost; None where there is one.
        batches: those that the rows go by; None where they do not.
    """

    rows: int
    sampled: int
    prompt_tokens: Range
    completion_tokens: Range
    requests: Range
    cost_usd: Range | None
    seconds: Range
    held_by: Hindrance | None
    at_once: Range
    reached: bool
    per_million: dict[str, Any] | None
    basis: tuple[str, ...]
    notes: tuple[str, ...]
    unpriced: str | None
    batches: Batches | None = None

    @property
    def tokens(self) -> Range:
        """Of prompts and answers together."""
        return self.prompt_tokens.plus(self.completion_tokens)


def forecast(survey: Survey, states: pl.DataFrame, wanted: pl.DataFrame, *, now: float) -> Forecast:
    """What asking for `wanted`, lines of `states` (see `index.match`), will take.

    Nothing is sent or written. `now` in seconds since the epoch. Raises FileNotFoundError when a running
    submit moves a file meanwhile.
    """
    job, known = survey.job, samples(survey, states)
    sample = sample_requests(survey, states, wanted, known.rows)
    rows = sample.rows
    prices = ModelPrices(job, now)
    price = _first_price(survey, sample, prices)
    taken = _taken(survey, known, sample, price)
    first = canary(job, lambda: states).rows
    batches = None
    if job.engine.by_batch:
        batches = batches_of(job, sample, first, answers_of(survey), price)
        price = price.in_batch if price else None
        batched = _taken(survey, known, sample, price, in_batches=True)
        taken = priced(job, batched, taken, rows, batches, answers_of(survey))
    by_itself = not known.rows["batched"].sum()
    pace = pace_of(
        job,
        survey.run.read_run_json().get("submit", {}) if by_itself else {},
        taken.seconds,
        rows=survey.facts.rows,
        calls=taken.calls.likely / max(1, rows),
        canary=first is not None,
    )
    counted = tokens_counted(job, taken.prompts, taken.outputs, taken.calls, sample.limit)
    seconds, held_by = duration(rows, taken.calls, counted, taken.seconds, pace)
    if batches is not None and rows:
        seconds, held_by = batches.seconds, "completion window"
    return Forecast(
        rows=rows,
        sampled=len(known.rows) if rows else 0,
        prompt_tokens=taken.prompts,
        completion_tokens=taken.outputs,
        requests=taken.calls,
        cost_usd=taken.cost,
        seconds=seconds,
        held_by=held_by,
        at_once=pace.at_once,
        reached=pace.reached,
        per_million=price.document() if price else None,
        basis=taken.basis,
        notes=tuple(_notes(survey, sample, taken, price, prices)) if rows else (),
        unpriced=unpriced(_first_name(survey, sample)) if taken.cost is None else None,
        batches=batches if rows else None,
    )


def _taken(
    survey: Survey, known: Samples, sample: RequestSample, price: Price | None, *, in_batches: bool = False
) -> Taken:
    """What the rows take at `price`: by the samples, where there are any."""
    taken = assumed(survey, sample, price)
    if not sample.rows or known.rows.is_empty():
        return taken
    alike = survey.job.order == "prefix"
    return learned(known, sample, price, taken, alike=alike, in_batches=in_batches)


def price_of(survey: Survey, changed: pl.DataFrame, *, now: float) -> str:
    """What asking for `changed` (lines of `index.match`) again will cost: `about $1.20 ($0.90 to $1.70)`.

    By what these rows took when they were answered, at the price of the job's first model now; in tokens
    where no price is known.
    """
    said = forecast(survey, changed, changed, now=now)
    if said.cost_usd is not None:
        return spread(said.cost_usd, estimated_usd)
    tokens = f"{spread(said.tokens, number)} tokens"
    if survey.job.endpoints[survey.job.models[0].endpoint].base_url is None:
        return f"{tokens} of a simulator, at no cost"
    return f"{tokens}; {said.unpriced}"


def _first_price(survey: Survey, sample: RequestSample, prices: ModelPrices) -> Price | None:
    model = survey.job.models[0]
    return prices.of(model, next(iter(sample.names), None) if model.name == ANY_MODEL else None)


def _first_name(survey: Survey, sample: RequestSample) -> str:
    model = survey.job.models[0]
    return f"{model.endpoint}/{next(iter(sample.names), model.name)}"


def _notes(
    survey: Survey, sample: RequestSample, taken: Taken, price: Price | None, prices: ModelPrices
) -> Iterator[str]:
    by_batch = survey.job.engine.by_batch
    yield from () if by_batch else windowed(survey.job)
    if price is not None and price.doubt:
        yield price.doubt
    if by_batch and price is not None and not price.knows_batch:
        spelled = _first_name(survey, sample)
        yield (
            f"what {spelled} costs in a batch is not known, and the full price is counted: "
            f"prices: {{{spelled}: {{input: …, output: …}}}} counts half of it in a batch"
        )
    if len(sample.names) > 1:
        yield f"rows name {len(sample.names)} models: all are taken for {_first_name(survey, sample)}"
    first = cost_of(price, *_likely(taken)) if price else None
    for model in survey.job.models[1:]:
        other = prices.of(model)
        other = other.in_batch if other and by_batch else other
        cost = cost_of(other, *_likely(taken)) if other else None
        if cost is None and price is not None:
            yield f"rows that fall back: {unpriced(model.qualified_name)}"
        elif cost and first is not None and cost > first * _DEARER:
            more = f"{cost / first:.2g} times as much" if first else f"{estimated_usd(cost)} for all"
            yield f"rows that fall back to {model.qualified_name} cost more, about {more}"


def _likely(taken: Taken) -> tuple[float, float, float]:
    return taken.prompts.likely, taken.outputs.likely, taken.calls.likely or 1.0
