"""How long a running submit will still take, from what it has done so far. Pure: it is told the time."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

_SHORTEST = 60.0
"""Seconds that a pace is taken over, at least: the window of most limits."""
_ROWS = 100
"""Finished rows that it is taken over, at least, where there are as many."""
_CALLS = 4
"""The same as a multiple of the calls under way: so many times the length of an answer."""
_REMEMBERED = 3_600
_APART = 1.0
"""Seconds between two moments that are remembered."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a submit has done by `at` (monotonic seconds).

    `longest` is how long nearly every call takes, None where that is not known; `youngest` how long the
    call that was sent last has been under way; `wait` how long calls must still wait for limits, and `away`
    for an endpoint that takes none. `least` is the least time that the limits allow for a row.
    """

    at: float
    to_do: int
    finished: int
    in_flight: int
    is_paused: bool = False
    longest: float | None = None
    youngest: float = 0.0
    wait: float = 0.0
    away: float = 0.0
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class _Mark:
    active: float
    """Seconds so far in which calls were made, or might have been."""
    idle: float
    """Those of them in which all waited for limits."""
    finished: int
    work: float


class TimeLeft:
    """Follows a submit; a row whose call is under way counts as half done."""

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque(maxlen=_REMEMBERED)
        self._active = 0.0
        self._idle = 0.0
        self._still = 0.0
        """Seconds for which no call has been under way."""
        self._last: float | None = None

    def estimate(self, now: Moment) -> float | None:
        """Seconds until the last row is done; None before anything says how long, or while nothing moves."""
        self._pass(now)
        mark = _Mark(self._active, self._idle, now.finished, now.finished + now.in_flight / 2)
        first = self._first(mark, max(_ROWS, _CALLS * now.in_flight))
        if not self._marks or mark.active >= self._marks[-1].active + _APART:
            self._marks.append(mark)
        passed, done = mark.active - first.active, mark.work - first.work
        if not now.finished or passed <= 0 or done <= 0:
            return None
        left = _left(now, done / passed)
        if now.in_flight:
            return left
        # waits for limits come again and again: what the pace has of them need not be added
        return left + max(now.away, now.wait - (mark.idle - first.idle))

    def _pass(self, now: Moment) -> None:
        """Let the time pass since the last look: it says nothing of the pace where no call could be made."""
        passed = now.at - self._last if self._last is not None else 0.0
        self._last = now.at
        self._still = 0.0 if now.in_flight else self._still + passed
        if now.is_paused or (not now.in_flight and now.away) or self._still > _SHORTEST:
            return
        self._active += passed
        self._idle += passed if self._still and now.wait else 0.0

    def _first(self, now: _Mark, rows: int) -> _Mark:
        """The moment that the pace is taken from."""
        for mark in reversed(self._marks):
            if mark.active <= now.active - _SHORTEST and mark.finished <= now.finished - rows:
                return mark
        return self._marks[0] if self._marks else now


def _left(now: Moment, rate: float) -> float:
    """At this rate until the last row is sent, and then what one of the last takes."""
    rows = now.to_do - now.finished
    waiting = max(0, rows - now.in_flight)
    longest = now.longest if now.longest and math.isfinite(now.longest) else 0.0
    last = longest if waiting else longest - now.youngest
    return max(waiting / rate, waiting * now.least) + max((rows - waiting) / rate, last)
