"""How the rows of a run ended, what they took, and how that differs from another run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from batchrun.outcome import Usage

_USAGE = list(Usage.__dataclass_fields__)
_SUMMED = ["cost_usd", *_USAGE]
_QUANTILES = {"p50": 0.5, "p95": 0.95}


@dataclass(frozen=True, slots=True)
class Took:
    """How the rows of a run ended, and what they took.

    Attributes:
        stale: rows whose answer is to an older prompt.
        errors: failed rows by error type, the most frequent first.
        cost_usd: of the rows whose cost is known, None where that is none.
        cost_usd_per_row: what each of them took.
        tokens_per_row: of prompt and answer together, each row that says it.
        usage: tokens of all rows, None where none says it.
        latency: seconds of the calls that answered, by quantile.
    """

    rows: int
    ok: int
    failed: int
    stale: int
    errors: dict[str, int]
    cost_usd: float | None
    cost_usd_per_row: float | None
    tokens_per_row: float | None
    usage: dict[str, int | None]
    latency: dict[str, float | None]

    @property
    def tokens(self) -> int | None:
        """Of prompts and answers together."""
        prompt, completion = self.usage["prompt_tokens"], self.usage["completion_tokens"]
        return None if prompt is None and completion is None else (prompt or 0) + (completion or 0)


@dataclass(frozen=True, slots=True)
class Change:
    """How much more than the base's a figure is, and how many times it; None where one is not known."""

    difference: float | None
    ratio: float | None


def changes(took: Took, base: Took) -> dict[str, Change]:
    """How the figures of a run differ from those of the base."""
    ours, theirs = _figures(took), _figures(base)
    return {name: _change(ours[name], theirs[name]) for name in ours}


def _figures(took: Took) -> dict[str, float | None]:
    return {
        "cost_usd": took.cost_usd,
        "cost_usd_per_row": took.cost_usd_per_row,
        "latency_p50": took.latency["p50"],
        "latency_p95": took.latency["p95"],
        "tokens": took.tokens,
        "tokens_per_row": took.tokens_per_row,
    }


def _change(figure: float | None, base: float | None) -> Change:
    if figure is None or base is None:
        return Change(None, None)
    return Change(figure - base, figure / base if base else None)


USED: list[pl.Expr] = [
    *(pl.col(name).alias(f"_{name}") for name in ("cost_usd", "latency", "error_type", "stale")),
    *(pl.col("usage").struct.field(name).alias(f"_{name}") for name in _USAGE),
]
"""What a `Tally` needs of the results, beside `ok`."""


@dataclass(slots=True)
class Tally:
    """Adds up the rows of a run, some at a time."""

    _sums: list[pl.DataFrame] = field(default_factory=list)
    _latencies: list[pl.Series] = field(default_factory=list)
    _errors: Counter[str] = field(default_factory=Counter)

    def add(self, rows: pl.DataFrame) -> None:
        """Count these rows in: `ok`, and USED."""
        self._sums.append(rows.select(*_sums()))
        self._latencies.append(rows.filter("ok")["_latency"])
        self._errors.update(rows["_error_type"].drop_nulls().to_list())

    def total(self) -> Took:
        """What all rows took."""
        nothing = dict.fromkeys(("rows", "ok", "stale", "tokens", "tokens_rows"), 0)
        nothing |= {name: 0 for summed in _SUMMED for name in (summed, f"{summed}_rows")}
        found = pl.concat(self._sums).sum().row(0, named=True) if self._sums else nothing
        sums = {name: found[name] if found[f"{name}_rows"] else None for name in _SUMMED}
        seconds = pl.concat([pl.Series("_latency", [], pl.Float64), *self._latencies])
        return Took(
            rows=found["rows"],
            ok=found["ok"],
            failed=found["rows"] - found["ok"],
            stale=found["stale"],
            errors=dict(self._errors.most_common()),
            cost_usd=sums["cost_usd"],
            cost_usd_per_row=_each(found["cost_usd"], found["cost_usd_rows"]),
            tokens_per_row=_each(found["tokens"], found["tokens_rows"]),
            usage={name: sums[name] for name in _USAGE},
            latency={name: seconds.quantile(q) for name, q in _QUANTILES.items()},
        )


def _sums() -> Iterator[pl.Expr]:
    yield pl.len().cast(pl.Int64).alias("rows")
    yield pl.col("ok").sum().cast(pl.Int64)
    yield pl.col("_stale").sum().cast(pl.Int64).alias("stale")
    tokens = pl.col("_prompt_tokens") + pl.col("_completion_tokens")
    for name, value in [("tokens", tokens), *((name, pl.col(f"_{name}")) for name in _SUMMED)]:
        yield value.sum().alias(name)
        yield value.count().cast(pl.Int64).alias(f"{name}_rows")


def _each(total: float, rows: int) -> float | None:
    return total / rows if rows else None
