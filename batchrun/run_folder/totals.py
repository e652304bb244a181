"""What the results of a run add up to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from batchrun.outcome import Usage

_COLUMNS = ["usage", "cost_usd", "status", "latency", "error_type", "attempts", "finish_reason", "stale"]
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over published results; None where no row says anything."""

    usage: dict[str, int | None]
    cost_usd: float | None
    latency: dict[str, float | None]
    """Seconds of the calls that answered, by quantile."""
    errors: dict[str, int]
    """Failed rows by `error_type`, the most frequent first."""
    possibly_paid: int
    """Calls that were sent and never answered."""
    usage_by_model: dict[str, Usage]
    """Of the calls that each model answered."""
    cut: int
    """Rows that are ok although their answer reached its token limit; answers to an older prompt aside."""


def read_totals(results: Path) -> Totals:
    """Add up the parts below `results`, one at a time; nothing before anything has been published."""
    usage: dict[str, int | None] = dict.fromkeys(Usage.__dataclass_fields__)
    cost: float | None = None
    latency: list[pl.Series] = []
    errors: Counter[str] = Counter()
    possibly_paid = cut = 0
    by_model: dict[str, Usage] = {}
    for part in sorted(results.glob("*.parquet")):
        rows = pl.read_parquet(part, columns=_COLUMNS, memory_map=False)
        for name, tokens in rows["usage"].struct.unnest().to_dict().items():
            if tokens.count():
                usage[name] = (usage[name] or 0) + int(tokens.sum())
        if rows["cost_usd"].count():
            cost = (cost or 0.0) + float(rows["cost_usd"].sum())
        latency.append(rows.filter(pl.col("status") == "ok")["latency"])
        cut += rows.filter(status="ok", finish_reason="length", stale=False).height
        errors.update(rows["error_type"].drop_nulls().to_list())
        attempts = rows["attempts"].explode().struct.unnest()
        _add_usage(by_model, attempts)
        possibly_paid += attempts.select((pl.col("sent") & pl.col("http_status").is_null()).sum()).item()
    seconds = pl.concat([pl.Series("latency", [], pl.Float64), *latency])
    return Totals(
        usage=usage,
        cost_usd=cost,
        latency={name: seconds.quantile(q) for name, q in _QUANTILES.items()},
        errors=dict(errors.most_common()),
        possibly_paid=possibly_paid,
        usage_by_model=by_model,
        cut=cut,
    )


def _add_usage(by_model: dict[str, Usage], attempts: pl.DataFrame) -> None:
    known = attempts.select("model", "usage").drop_nulls().unnest("usage")
    sums = known.group_by("model").agg(pl.all().sum())
    for model, *counts in sums.select("model", *Usage.__dataclass_fields__).iter_rows():
        by_model[model] = by_model.get(model, Usage()) + Usage(*counts)
