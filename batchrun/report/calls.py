"""What went on over time: rows that ended, calls under way, how long they took and why they failed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from batchrun.report.tally import Tally
from batchrun.report.timeline import SPANS, Timeline
from batchrun.run_folder.results.totals import QUANTILES

COLUMNS = ["attempts", "finished_at"]
"""The results' columns that are read for it."""

MOST_BINS = 60
"""Stretches of equal length that the time at work is cut into."""

_PER_BIN = 10
"""Calls in a stretch, on average, at the least."""

FEWEST = 5
"""Calls below which nothing is seen over time."""

_FACTOR = 1.02
"""Latencies are counted in classes whose limits grow by it: quantiles are exact to a hundredth."""

_SHORTEST = 1e-4


@dataclass(frozen=True, slots=True)
class OverTime:
    """A run's time at work, in stretches of equal length.

    Attributes:
        seconds: of each stretch.
        stretches: one line each: `rows` that ended in it, `in_flight` (calls under way, on average), and the
            quantiles of the latency of calls that were answered in it, null where there are none.
        errors: how many calls (`number`) did not answer their row for which reason (`error_type`), by `bin`.
    """

    timeline: Timeline
    seconds: float
    stretches: pl.DataFrame
    errors: pl.DataFrame


def calls_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The calls of rows, a line each, with `start` and `end` in seconds since the epoch."""
    calls = rows.select(pl.col("attempts").explode()).drop_nulls().unnest("attempts")
    start = pl.col("started_at").dt.epoch("us") / 1e6
    calls = calls.with_columns(start=start, end=start + pl.col("latency").fill_null(0.0))
    return calls.filter(pl.col("start").is_not_null())


def spans_of(rows: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """When something went on: calls under way, and rows that ended."""
    end = rows.select(end=pl.col("finished_at").dt.epoch("us") / 1e6).drop_nulls()
    ends = end.select(start=pl.col("end"), end=pl.col("end"))
    return pl.concat([calls.select(SPANS.keys()), ends])


class CallsOverTime:
    """Counts part by part what is in an `OverTime`; `calls` are those of the whole run."""

    def __init__(self, timeline: Timeline, calls: int) -> None:
        self._timeline = timeline
        self._bins = max(1, min(MOST_BINS, calls // _PER_BIN)) if timeline.at_work else 1
        self._seconds = timeline.at_work / self._bins or 1.0
        self._rows, self._latency, self._errors = (
            Tally("bin"),
            Tally("bin", "class"),
            Tally("bin", "error_type"),
        )
        self._in_flight_calls = Tally("bin")

    def add(self, rows: pl.DataFrame, calls: pl.DataFrame) -> None:
        """Count a part: its rows, and their calls as `calls_of` gives them."""
        ended = rows.select(pl.col("finished_at").drop_nulls().dt.epoch("us") / 1e6)["finished_at"]
        self._rows.count(pl.DataFrame({"bin": self._bin(self._timeline.at(ended))}))
        start, end = (self._timeline.at(calls[name]) for name in ("start", "end"))
        calls = calls.with_columns(bin=self._bin(end))
        for times, sign in ((start, 1), (end, -1)):
            moved = pl.DataFrame({"bin": self._bin(times), "number": sign, "seconds": times * sign})
            self._in_flight_calls.add(moved.with_columns(pl.col("number").cast(pl.Int64)))
        answered = calls.filter(pl.col("http_status").is_between(200, 299), pl.col("latency").is_not_null())
        size = (pl.col("latency").clip(_SHORTEST).log() / math.log(_FACTOR)).floor().cast(pl.Int32)
        self._latency.count(answered.select("bin", size.alias("class")))
        self._errors.count(calls.filter(pl.col("error_type").is_not_null()).select("bin", "error_type"))

    def found(self) -> OverTime:
        """What has been counted."""
        every = pl.DataFrame({"bin": pl.arange(0, self._bins, eager=True, dtype=pl.Int32)})
        found = every.join(self._rows.sums().rename({"number": "rows"}), on="bin", how="left")
        found = found.join(self._in_flight(every), on="bin", how="left")
        found = found.join(_quantiles(self._latency.sums()), on="bin", how="left")
        filled = found.with_columns(pl.col("rows").fill_null(0)).sort("bin")
        return OverTime(self._timeline, self._seconds, filled, self._errors.sums())

    def _bin(self, at_work: pl.Series) -> pl.Series:
        return (at_work / self._seconds).floor().clip(0, self._bins - 1).cast(pl.Int32).alias("bin")

    def _in_flight(self, every: pl.DataFrame) -> pl.DataFrame:
        """Calls under way in each stretch, on average.

        Up to a time t calls have been under way for the sum of t - start over those that began before it,
        less the sum of t - end over those that ended: so starts and ends need only be added up.
        """
        moved = every.join(self._in_flight_calls.sums(), on="bin", how="left").fill_null(0).sort("bin")
        until = (pl.col("bin") + 1) * self._seconds
        under_way = pl.col("number").cum_sum() * until - pl.col("seconds").cum_sum()
        mean = (under_way - under_way.shift(fill_value=0.0)) / self._seconds
        return moved.select("bin", in_flight=mean.clip(0.0))


def _quantiles(classes: pl.DataFrame) -> pl.DataFrame:
    """Quantiles in seconds, by `bin`, from how many latencies are in each class."""
    seconds = _FACTOR ** (pl.col("class") + 0.5)
    up_to = pl.col("number").cum_sum()
    return (
        classes.sort("bin", "class")
        .group_by("bin", maintain_order=True)
        .agg(
            seconds.filter(up_to >= share * pl.col("number").sum()).first().alias(name)
            for name, share in QUANTILES.items()
        )
    )
