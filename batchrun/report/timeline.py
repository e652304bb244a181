"""When a run was at work: one axis of time, without the pauses between its submits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import polars as pl

QUIET = 60.0
"""Seconds without a call under way after which a run may have paused."""

_PAUSE = 0.05
"""A pause is longer than this share of the time at work: a shorter one is seen as it was."""

SPANS = {"start": pl.Float64, "end": pl.Float64}


@dataclass(frozen=True, slots=True)
class Timeline:
    """The stretches of time in which a run was at work, in their order; none overlaps another.

    Times are seconds since the epoch. *Time at work* counts the seconds of the stretches alone, from 0.
    """

    starts: tuple[float, ...]
    ends: tuple[float, ...]

    @property
    def at_work(self) -> float:
        """Seconds of all stretches together."""
        return sum(end - start for start, end in zip(self.starts, self.ends, strict=True))

    @property
    def pauses(self) -> tuple[float, ...]:
        """Where, in time at work, the run paused."""
        return tuple(self._before()[1:])

    @property
    def paused(self) -> float:
        """Seconds of all pauses together."""
        return self.ends[-1] - self.starts[0] - self.at_work if self.starts else 0.0

    def at(self, times: pl.Series) -> pl.Series:
        """Time at work of each of `times`, that of the nearest stretch before it for one in a pause."""
        starts, before = pl.Series(self.starts, dtype=pl.Float64), pl.Series(self._before(), dtype=pl.Float64)
        place = (starts.search_sorted(times, side="right").cast(pl.Int64) - 1).clip(0)
        lengths = pl.Series(self.ends, dtype=pl.Float64) - starts
        inside = pl.DataFrame({"t": times - starts.gather(place), "most": lengths.gather(place)})
        return before.gather(place) + inside.select(pl.min_horizontal(pl.col("t").clip(0.0), "most"))["t"]

    def _before(self) -> list[float]:
        """Time at work before each stretch."""
        before, total = [], 0.0
        for start, end in zip(self.starts, self.ends, strict=True):
            before.append(total)
            total += end - start
        return before


def timeline(parts: Iterable[pl.DataFrame]) -> Timeline:
    """The timeline of what went on in `parts`, some spans of time at once, in any order; empty of none.

    Memory is bounded by how often the run paused. Silence within a submit, as where an endpoint asks to
    wait, is time at work unless it is long beside the rest.
    """
    spans = reduce(
        lambda found, part: joined(pl.concat([found, part]), QUIET), parts, pl.DataFrame(schema=SPANS)
    )
    spans = joined(spans, max(QUIET, _PAUSE * float((spans["end"] - spans["start"]).sum())))
    return Timeline(tuple(spans["start"]), tuple(spans["end"]))


def joined(spans: pl.DataFrame, quiet: float) -> pl.DataFrame:
    """Spans with those joined between which are at most `quiet` seconds."""
    ordered = spans.sort("start")
    begins = (pl.col("start") - pl.col("end").cum_max().shift() > quiet).fill_null(value=False)
    stretch = ordered.with_columns(stretch=begins.cum_sum()).group_by("stretch", maintain_order=True)
    return stretch.agg(pl.col("start").min(), pl.col("end").max()).drop("stretch")
