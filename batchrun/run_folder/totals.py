"""What the results of a run add up to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from batchrun.outcome import Usage

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


def read_totals(results: Path) -> Totals:
    """Add up the parts below `results`; all zero before anything has been published."""
    if not results.exists():
        return Totals(dict.fromkeys(Usage.__dataclass_fields__), None, dict.fromkeys(_QUANTILES), {}, 0)
    rows = pl.scan_parquet(results / "*.parquet")
    tokens = [
        pl.when(pl.col("usage").struct.field(name).count() > 0)
        .then(pl.col("usage").struct.field(name).sum())
        .alias(name)
        for name in Usage.__dataclass_fields__
    ]
    latency = [
        pl.col("latency").filter(pl.col("status") == "ok").quantile(q).alias(name)
        for name, q in _QUANTILES.items()
    ]
    lost = pl.col("attempts").list.eval(
        pl.element().struct.field("sent") & pl.element().struct.field("http_status").is_null()
    )
    cost = pl.when(pl.col("cost_usd").count() > 0).then(pl.col("cost_usd").sum()).alias("cost")
    found = (
        rows.select(*tokens, *latency, cost, lost.list.sum().sum().alias("lost")).collect().row(0, named=True)
    )
    kinds = (
        rows.filter(pl.col("status") == "failed").group_by("error_type").len().sort("len", descending=True)
    )
    return Totals(
        usage={name: found[name] for name in Usage.__dataclass_fields__},
        cost_usd=found["cost"],
        latency={name: found[name] for name in _QUANTILES},
        errors=dict(kinds.collect().iter_rows()),
        possibly_paid=found["lost"] or 0,
    )
