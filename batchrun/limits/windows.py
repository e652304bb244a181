"""What was sent of late, and how much of it weighs on a sliding window. Pure: `now` is an argument.

A `Log` holds cells, each for the calls of a moment, however many those are; every `Window` over it is
a place in that chain and a sum. So a call costs the same under any number of windows, and memory is
bounded by the length of the windows, not by the rate.
"""

from __future__ import annotations

import math

REQUESTS, ASKED, DUE = range(3)
"""What a cell counts: calls; their tokens as asked for; their tokens as used, or as expected until known."""

SLACK = 1.0
"""Seconds that the sending of a call may take at most before it is counted."""
_SHORT_SLACK = 0.03
"""The same as a share of the window, for short ones: none may cost more than 3%."""
_DRIFT = 1e-4
"""How much faster the server's clock may run than ours."""
_CELLS = 200
"""Cells in the shortest window: the last of a cell decides when all of it is free again."""


class Cell:
    """The calls of one moment."""

    __slots__ = ("amounts", "answered_at", "began_at", "ended_at", "next", "number", "open", "open_due")

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        self.began_at = self.ended_at = now
        self.answered_at = math.inf
        """When the last of them was answered; infinite while one is not."""
        self.amounts = [0, 0, 0]
        self.open = self.open_due = 0
        """Calls without an answer, and what they are expected to use."""
        self.next: Cell | None = None


class Log:
    """Cells of the last `horizon` seconds, the oldest after `before`."""

    __slots__ = ("_width", "before", "horizon", "newest", "open", "open_due", "totals", "windows")

    def __init__(self, horizon: float, shortest: float) -> None:
        self.horizon = horizon
        self._width = shortest / _CELLS
        self.before = self.newest = Cell(0, -math.inf)
        self.totals = [0, 0, 0]
        self.open = self.open_due = 0
        self.windows: list[Window] = []

    def add(self, now: float, requests: int, asked: int, due: int) -> Cell:
        """Count amounts of this moment."""
        cell = self.newest
        if now - cell.began_at >= self._width:
            self._forget(now)
            cell.next = self.newest = cell = Cell(cell.number + 1, now)
        cell.ended_at = now
        amounts, totals = cell.amounts, self.totals
        amounts[0] += requests
        amounts[1] += asked
        amounts[2] += due
        totals[0] += requests
        totals[1] += asked
        totals[2] += due
        return cell

    def send(self, now: float, asked: int, due: int) -> Cell:
        """Count one call that is being sent."""
        cell = self.add(now, 1, asked, due)
        cell.open += 1
        cell.open_due += due
        self.open += 1
        self.open_due += due
        cell.answered_at = math.inf
        return cell

    def answer(self, cell: Cell, now: float, due: int) -> None:
        """A call of `cell`, expected to use `due`, was answered."""
        cell.open -= 1
        cell.open_due -= due
        if cell.number > self.before.number:
            self.open -= 1
            self.open_due -= due
        if not cell.open:
            cell.answered_at = now

    def amend(self, cell: Cell, change: int) -> None:
        """What a call of `cell` uses is known better: so much more."""
        cell.amounts[DUE] += change
        self.totals[DUE] += change
        for window in self.windows:
            window.amended(cell, change)

    def late(self, now: float, asked: int) -> None:
        """Count tokens that an answered call took beyond what it asked for."""
        cell = self.add(now, 0, asked, 0)
        if not cell.open:
            cell.answered_at = now

    def seal(self) -> None:
        """Let nothing more into the newest cell."""
        self.newest.began_at = -math.inf

    def cells(self, now: float) -> list[Cell]:
        """All of the last `horizon`, oldest first."""
        self._forget(now)
        found, cell = [], self.before.next
        while cell is not None:
            found.append(cell)
            cell = cell.next
        return found

    def _forget(self, now: float) -> None:
        cell = self.before.next
        while cell is not None and cell.ended_at + self.horizon < now:
            self.open -= cell.open
            self.open_due -= cell.open_due
            self.before, cell = cell, cell.next


class Window:
    """What of `log` weighs within `seconds`, against `limit`.

    A cell weighs until `seconds` after the latest moment at which the server can have counted it: its
    answer, or `slack` after sending where the answer takes longer. With `exact`, an amount goes when
    all of it fits; else when anything is left. An amount above the limit counts as the whole limit
    when it asks (it goes alone), so nothing waits for ever.
    """

    __slots__ = (
        *("_exact", "_expelled", "_hold", "_log", "_metric", "_out", "_slack"),
        *("foreign", "foreign_until", "limit", "reserve", "seconds"),
    )

    def __init__(
        self, log: Log, metric: int, limit: int, seconds: float, *, exact: bool, slack: float
    ) -> None:
        self.limit, self.seconds = limit, seconds
        self.foreign, self.foreign_until = 0, -math.inf
        """What others than us use of the limit, and until when that is believed."""
        self.reserve = 0
        """What may be counted before the next call arrives."""
        self._log, self._metric, self._exact = log, metric, exact
        self._hold = seconds * (1 + _DRIFT)
        self._slack = slack
        self._out = log.before
        self._expelled = log.totals[metric]
        cell = log.before.next
        while cell is not None:
            self._expelled -= cell.amounts[metric]
            cell = cell.next
        log.windows.append(self)

    def used(self, now: float) -> int:
        """What weighs of our own calls."""
        cell = self._out.next
        while cell is not None and self._ends(cell) <= now:
            # Cells are in the order of sending. One that ends before an earlier one waits for it: at
            # most the slack too long, and it keeps this O(1).
            self._expelled += cell.amounts[self._metric]
            self._out, cell = cell, cell.next
        return self._log.totals[self._metric] - self._expelled

    def delay(self, now: float, amount: int) -> float:
        """Seconds until `amount` may go; 0 when it may go now."""
        if not amount:
            return 0.0
        if self.foreign and now >= self.foreign_until:
            self.foreign = 0
        most = self.limit if self._exact else 1
        excess = self.used(now) + (amount if amount < most else most) - self.limit
        excess += self.foreign + self.reserve
        return 0.0 if excess <= 0 else self._free_at(excess, now) - now

    def amended(self, cell: Cell, change: int) -> None:
        """`cell` counts more (or less) than it did."""
        if self._metric == DUE and cell.number <= self._out.number:
            self._expelled += change

    def _free_at(self, excess: int, now: float) -> float:
        free_at, cell = now, self._out.next
        while cell is not None and excess > 0:
            free_at = max(free_at, self._ends(cell))
            excess -= cell.amounts[self._metric]
            cell = cell.next
        return max(free_at, self.foreign_until) if excess > 0 else free_at

    def _ends(self, cell: Cell) -> float:
        counted = cell.ended_at + self._slack
        return (cell.answered_at if cell.answered_at < counted else counted) + self._hold


def slack_of(seconds: float) -> float:
    """The slack of a window of `seconds`."""
    return min(SLACK, seconds * _SHORT_SLACK)
