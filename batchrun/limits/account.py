"""Our own account of the calls of late: what was asked for, what is expected, what was used. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from batchrun.limits.windows import DUE, REQUESTS, Cell, Log

_FORGET = 1 - 1 / 256
_RATIO = (0.02, 2.0)
"""Between what the share of expected tokens that are used is believed to lie."""
_SAVED = 600
"""Cells that a snapshot holds at most."""


class Size(NamedTuple):
    """Tokens of a call before it is sent."""

    asked: int
    """The prompt, and all that the answer may take."""
    expected: int
    """The prompt, and what the answer will likely take."""


class Levels(NamedTuple):
    """What weighs on a limit by our account."""

    requests: int
    asked: int
    """Tokens asked for, as long as the server may count them."""
    surely: int
    """Those that it cannot have forgotten yet."""
    used: int
    """Tokens that answers reported."""
    used_least: int = 0
    """The same, where it is not known how soon they flow back."""
    ended: tuple[int, int] = (0, 0)
    """Calls, and their tokens, that had been answered (of all that were ever sent)."""


@dataclass(slots=True)
class Charge:
    """A call as the windows see it; times in monotonic seconds."""

    sent_at: float
    cell: Cell
    asked: int
    expected: int
    due: int
    """What it weighs where used tokens count: what is likely, then what is known."""
    since: float
    """When the server last counted one of our calls, at the earliest, as far as the answers tell that it has:
    the last answer before this call was sent."""
    levels: Levels | None = None
    """What weighed when it was sent, where the server's account is to be compared with ours."""
    answered: bool = False


class Account:
    """Two logs: of calls as they were `sent`, and of tokens as answers reported them (`answered`)."""

    __slots__ = ("_expected", "_last", "_used", "answered", "horizon", "sent")

    def __init__(self, horizon: float, shortest: float) -> None:
        self.horizon = horizon
        self.sent, self.answered = Log(horizon, shortest), Log(horizon, shortest)
        self._used = self._expected = 1.0
        self._last: float | None = None
        """When the last answer came, before the first when the first call was sent."""

    def due(self, expected: int) -> int:
        """What a call of `expected` tokens will use on average: an expectation that is a p95 wastes."""
        share, (low, high) = self._used / self._expected, _RATIO
        return math.ceil(expected * (low if share < low else high if share > high else share))

    def charge(self, now: float, asked: int, expected: int) -> Charge:
        """Count a call that is being sent."""
        due = self.due(expected)
        if self._last is None:
            self._last = now
        return Charge(now, self.sent.send(now, asked, due), asked, expected, due, self._last)

    def settle(self, charge: Charge, now: float, used: int | None) -> int:
        """A call has ended; how many more tokens it used than was known before."""
        due = charge.due
        known = due if charge.answered else 0
        if not charge.answered:
            self._last = now
            charge.answered = True
            self.sent.answer(charge.cell, now, due)
            if used:
                self._used = self._used * _FORGET + used
                self._expected = self._expected * _FORGET + charge.expected
        if used is None:
            used = due
        if used > charge.asked:
            self.sent.late(now, used - charge.asked)
            charge.asked = used
        if used != due:
            self.sent.amend(charge.cell, used - due)
            charge.due = used
        if used != known:
            self.answered.add(now, 0, 0, used - known)
        return used - known

    def ended(self) -> tuple[int, int]:
        """Calls answered, and their tokens, of all that were ever sent."""
        sent = self.sent
        return sent.totals[REQUESTS] - sent.open, sent.totals[DUE] - sent.open_due

    def recall(self, now: float, age: float, amounts: Sequence[int]) -> None:
        """Count what an earlier process sent `age` seconds ago: requests, tokens asked, tokens due."""
        self._last = -math.inf  # of what it had counted last, nothing is known
        if (at := self._past(self.sent, now, age)) is not None:
            self.sent.add(at, *amounts)
            self.sent.seal()

    def snapshot(self, now: float, wall: float) -> dict[str, Any]:
        """What still weighs, for JSON, with times in seconds since the epoch; empty where nothing does."""
        sent = [[wall - now + at, *amounts] for at, amounts in self._rows(self.sent.cells(now))]
        answered = [[wall - now + at, row[DUE]] for at, row in self._rows(self.answered.cells(now))]
        return {"sent": sent, "answered": answered, "ratio": [self._used, self._expected]} if sent else {}

    def restore(self, now: float, wall: float, state: Mapping[str, Any]) -> None:
        """Take up a `snapshot`. A time in the future (the clock was set back) counts as now."""
        for at, *amounts in state.get("sent", ()):
            self.recall(now, wall - at, amounts)
        for at, used in state.get("answered", ()):
            if (then := self._past(self.answered, now, wall - at)) is not None:
                self.answered.add(then, 0, 0, used)
        if ratio := state.get("ratio"):
            self._used, self._expected = ratio

    def _past(self, log: Log, now: float, age: float) -> float | None:
        """When it was, on this process's clock; None where it weighs no more. Never before what is logged."""
        age = max(0.0, age)
        return max(now - age, log.newest.ended_at) if age < self.horizon else None

    def _rows(self, cells: Iterable[Cell]) -> list[tuple[float, list[int]]]:
        """The cells, of those near each other one: as late as the latest."""
        rows: list[tuple[float, list[int]]] = []
        began = -math.inf
        for cell in cells:
            if rows and cell.ended_at - began < self.horizon / _SAVED:
                rows[-1] = cell.ended_at, [a + b for a, b in zip(rows[-1][1], cell.amounts, strict=True)]
            else:
                began = cell.began_at if cell.began_at > -math.inf else cell.ended_at
                rows.append((cell.ended_at, cell.amounts))
        return rows
