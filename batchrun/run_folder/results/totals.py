"""What the results of a run add up to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from batchrun.outcome import Usage
from batchrun.run_folder.parquet import column_names, read_file

_COLUMNS = ["usage", "cost_usd", "status", "latency", "error_type", "attempts", "finish_reason", "stale"]
_OF_WAYS = ["batch_id", "duplicate_of"]
"""In results of an earlier version the first of them is an input column, if anything."""
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(slots=True)
class Way:
    """Rows that were answered one way, a provider's batch or a call of their own.

    `cost_usd` is that of all their attempts; None where no row says anything.
    """

    rows: int = 0
    cost_usd: float | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """Count lines of results."""
        self.rows += len(rows)
        if rows["cost_usd"].count():
            self.cost_usd = (self.cost_usd or 0.0) + float(rows["cost_usd"].sum())


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
    ways: dict[str, Way]
    """Rows that were asked, by `batch` and by `realtime`; empty where none came by batch."""


def read_totals(results: Path) -> Totals:
    """Add up the parts below `results`, one at a time; nothing before anything has been published."""
    usage: dict[str, int | None] = dict.fromkeys(Usage.__dataclass_fields__)
    cost: float | None = None
    latency: list[pl.Series] = []
    errors: Counter[str] = Counter()
    possibly_paid = cut = 0
    ways = {"batch": Way(), "realtime": Way()}
    by_model: dict[str, Usage] = {}
    for part in sorted(results.glob("*.parquet")):
        known = column_names(part)
        columns = [*_COLUMNS, *(name for name in _OF_WAYS if name in known)]
        rows = read_file(part, columns)
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
        _add_ways(ways, rows)
        possibly_paid += attempts.select((pl.col("sent") & pl.col("http_status").is_null()).sum()).item()
    seconds = pl.concat([pl.Series("latency", [], pl.Float64), *latency])
    return Totals(
        usage=usage,
        cost_usd=cost,
        latency={name: seconds.quantile(q) for name, q in QUANTILES.items()},
        errors=dict(errors.most_common()),
        possibly_paid=possibly_paid,
        usage_by_model=by_model,
        cut=cut,
        ways=ways if ways["batch"].rows else {},
    )


def _add_ways(ways: dict[str, Way], rows: pl.DataFrame) -> None:
    kind = rows.schema["attempts"]
    assert isinstance(kind, pl.List)
    assert isinstance(kind.inner, pl.Struct)
    if all(field.name != "batch_id" for field in kind.inner.fields):  # of an earlier version
        return
    sent = pl.col("attempts").list.eval(pl.element().struct.field("sent")).list.any()
    asked = rows.filter(sent.fill_null(value=False) & pl.col("duplicate_of").is_null())
    ways["batch"].add(asked.filter(pl.col("batch_id").is_not_null()))
    ways["realtime"].add(asked.filter(pl.col("batch_id").is_null()))


def _add_usage(by_model: dict[str, Usage], attempts: pl.DataFrame) -> None:
    known = attempts.select("model", "usage").drop_nulls().unnest("usage")
    sums = known.group_by("model").agg(pl.all().sum())
    for model, *counts in sums.select("model", *Usage.__dataclass_fields__).iter_rows():
        by_model[model] = by_model.get(model, Usage()) + Usage(*counts)
