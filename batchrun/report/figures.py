"""The figures of a run's charts: counted part by part, so that memory does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from batchrun.report.calls import COLUMNS, FEWEST, CallsOverTime, OverTime, calls_of, spans_of
from batchrun.report.members import MOST, Member, Range, binned, members
from batchrun.report.tally import Tally
from batchrun.report.timeline import timeline

Parts = Callable[[], Iterable[pl.LazyFrame]]
"""Gives the rows of a run, some thousands at a time, as often as it is called."""

MOST_CALLS = 10
"""Calls of a row that are told apart: one with more counts as one with so many."""

SHARES = 20
"""Bins of the confidence, from 0 to 1."""

_ROWS = [*COLUMNS, "finish_reason", "confidence", "model", "cost_usd"]


@dataclass(frozen=True, slots=True)
class Distribution:
    """How often each value of a member of `parsed` is given.

    Attributes:
        counts: `value` and `number`; of numbers `from`, `to` and `number`, bin by bin.
        given: values that are not null.
        extremes: the least and the greatest number.
    """

    member: Member
    counts: pl.DataFrame
    given: int
    extremes: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What is drawn of a run; each table is small, however many rows there are.

    Attributes:
        rows: finished ones.
        over_time: None where there were too few calls to see anything.
        calls: rows by how many calls they took (`calls`, at most MOST_CALLS).
        reasons: rows by `finish_reason`.
        tokens: `prompt`, `completion` by the `model` that was called.
        costs: USD by the `model` that was asked last, where any is known (`known` rows).
        confidence: rows by `bin` of 1 / SHARES.
        left_out: members of `parsed` beyond those that are counted.
    """

    rows: int
    over_time: OverTime | None
    calls: pl.DataFrame
    reasons: pl.DataFrame
    tokens: pl.DataFrame
    costs: pl.DataFrame
    confidence: pl.DataFrame
    distributions: tuple[Distribution, ...]
    left_out: int


def figures(parts: Parts, schema: Mapping[str, Any] | None) -> Figures | None:
    """Count what is drawn of a run; None without a finished row. `schema` is the job's, where it has one.

    The rows are read twice: how far the axes go is known only after the first time.
    """
    first = next(iter(parts()), None)
    if first is None:
        return None
    found = [*members(first.collect_schema()["parsed"], schema)]  # all parts have the same types
    outset = _Outset(found[:MOST])
    times = timeline(map(outset.add, parts()))
    if not outset.rows:
        return None
    sums = _Sums(CallsOverTime(times, outset.calls), outset.counted())
    for part in parts():
        sums.add(part)
    return sums.figures(outset.calls, left_out=max(0, len(found) - MOST))


@dataclass(slots=True)
class _Counted:
    """A member whose values are counted, numbers in bins."""

    member: Member
    bins: Range | None
    extremes: tuple[float, float] | None
    sums: Tally = field(default_factory=lambda: Tally("value"))

    @property
    def key(self) -> pl.Expr:
        return self.bins.bin(self.member.value) if self.bins else self.member.value

    def distribution(self) -> Distribution | None:
        """What was found; None where no answer gives a value."""
        counts = self.sums.sums()
        if counts.is_empty():
            return None
        given = int(counts["number"].sum())
        if self.bins:
            low, step = self.bins.low, self.bins.step
            ends = [(low + (pl.col("value") + more) * step).alias(name) for name, more in _ENDS.items()]
            counts = counts.select(*ends, "number")
        return Distribution(self.member, counts, given, self.extremes)


_ENDS = {"from": 0, "to": 1}


class _Outset:
    """What is known after the first reading: how many rows and calls there are, and how far numbers go."""

    def __init__(self, members: list[Member]) -> None:
        self._members = members
        self._ends: dict[str, tuple[float, float]] = {}
        self.rows = self.calls = 0

    def add(self, part: pl.LazyFrame) -> pl.DataFrame:
        """Look at a part; its spans of time."""
        numbers = {f"_{at}": member.value for at, member in enumerate(self._members) if member.is_number}
        rows = part.select(*COLUMNS, **numbers).collect()
        for name in numbers:
            values = rows[name].drop_nulls()
            if len(values):
                ends = [*values.sort().gather([0, -1]), *self._ends.get(name, ())]
                self._ends[name] = min(ends), max(ends)
        calls = calls_of(rows)
        self.rows, self.calls = self.rows + rows.height, self.calls + calls.height
        return spans_of(rows, calls)

    def counted(self) -> list[_Counted]:
        """The members that can be counted: numbers only where there are any that are apart."""
        found = []
        for at, member in enumerate(self._members):
            ends = self._ends.get(f"_{at}")
            bins = binned(*ends, is_whole=member.is_whole) if ends else None
            if bins or not member.is_number:
                found.append(_Counted(member, bins, ends))
        return found


class _Sums:
    """What is counted in the second reading."""

    def __init__(self, over_time: CallsOverTime, members: list[_Counted]) -> None:
        self._over_time = over_time
        self._members = members
        self._calls, self._reasons, self._confidence = Tally("calls"), Tally("finish_reason"), Tally("bin")
        self._tokens, self._costs = Tally("model"), Tally("model")
        self._rows = 0

    def add(self, part: pl.LazyFrame) -> None:
        """Count a part."""
        rows = part.select(*_ROWS, **{f"_{at}": one.key for at, one in enumerate(self._members)}).collect()
        calls = calls_of(rows)
        self._rows += rows.height
        self._over_time.add(rows, calls)
        number = pl.col("attempts").list.len()
        self._calls.count(rows.select(calls=number.fill_null(0).clip(0, MOST_CALLS).cast(pl.Int32)))
        self._reasons.count(rows.select("finish_reason").drop_nulls())
        share = (pl.col("confidence") * SHARES).floor().clip(0, SHARES - 1).cast(pl.Int32)
        self._confidence.count(rows.select(bin=share).drop_nulls())
        used = calls.select("model", "usage").drop_nulls().unnest("usage")
        self._tokens.add(used.select("model", prompt="prompt_tokens", completion="completion_tokens"))
        priced = rows.select("model", cost="cost_usd").drop_nulls()
        self._costs.add(priced.with_columns(known=pl.lit(1, pl.Int64)))
        for at, one in enumerate(self._members):
            one.sums.count(rows.select(value=f"_{at}").drop_nulls())

    def figures(self, calls: int, *, left_out: int) -> Figures:
        """All that was counted."""
        found = [one.distribution() for one in self._members]
        return Figures(
            rows=self._rows,
            over_time=self._over_time.found() if calls >= FEWEST else None,
            calls=self._calls.sums(),
            reasons=self._reasons.sums(),
            tokens=self._tokens.sums(),
            costs=self._costs.sums(),
            confidence=self._confidence.sums(),
            distributions=tuple(one for one in found if one),
            left_out=left_out,
        )
