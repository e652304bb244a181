"""What calls took on each day (UTC): a small document that a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from batchrun.budget.amounts import Amounts, Sums
from batchrun.value import value

DAY = 86_400
"""Seconds; days of UTC begin at multiples of it since the epoch."""


@lru_cache(maxsize=16)  # of the days of a run
def _name(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).date().isoformat()


def day_of(wall: float) -> str:
    """The day (UTC) of a time in seconds since the epoch, as 2026-11-21."""
    return _name(int(wall // DAY))


class Tally:
    """Adds up what the calls of one row take, by day (UTC)."""

    __slots__ = ("_days",)

    def __init__(self) -> None:
        self._days: dict[int, Sums] = {}

    def add(self, wall: float, amounts: Amounts) -> None:
        """Count a call that was sent at `wall`, in seconds since the epoch."""
        day, sums = int(wall // DAY), Sums.of(amounts)
        known = self._days.get(day)
        self._days[day] = sums if known is None else known.plus(sums)

    def document(self) -> dict[str, list[float | int]]:
        """The sums so far, as `Spend.document` writes them."""
        return {_name(day): _written(sums) for day, sums in sorted(self._days.items())}


@value(frozen=True, slots=True)
class Spend:
    """Sums by day; what is not known counts as nothing."""

    days: Mapping[str, Sums] = field(default_factory=dict)

    @classmethod
    def on(cls, wall: float, amounts: Amounts) -> Spend:
        """What one call took that was sent at `wall`, in seconds since the epoch."""
        return cls({day_of(wall): Sums.of(amounts)})

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Spend:
        """What `document` wrote. Raises ValueError where it did not."""
        try:
            days = {day: Amounts(float(usd), int(n), int(m)) for day, (usd, n, m) in document.items()}
        except TypeError as error:
            raise ValueError(f"not sums of days: {error}") from error
        return cls({day: Sums.of(amounts) for day, amounts in days.items()})

    def __add__(self, other: Spend) -> Spend:
        none = Sums()
        days = sorted(self.days.keys() | other.days.keys())
        return Spend({day: self.days.get(day, none).plus(other.days.get(day, none)) for day in days})

    def total(self) -> Amounts:
        """Of all days: what a budget per run begins with."""
        found = Sums()
        for sums in self.days.values():
            found = found.plus(sums)
        return found.amounts()

    def day(self, wall: float) -> Amounts:
        """Of the day of `wall`: what a budget per day begins with."""
        return self.days.get(day_of(wall), Sums()).amounts()

    def document(self) -> dict[str, list[float | int]]:
        """`{"2026-11-21": [USD, tokens, requests]}`."""
        return {day: _written(sums) for day, sums in sorted(self.days.items())}


def _written(sums: Sums) -> list[float | int]:
    return [sums.cost / 10**12, sums.tokens, sums.requests]
