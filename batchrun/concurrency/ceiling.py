"""Where a server refuses: ×0.8 once for each episode, back to just below, and a look whether it still does.

A refusal may cost more than the refused call: where the server names a time to come back, nobody asks it
for so long. So the ceiling is tried the more rarely, the longer the last refusal kept us from sending.

Pure: times are arguments, in monotonic seconds.
"""

from __future__ import annotations

import math

_CUT = 0.8
_GROWTH = 0.05
"""Share by which the limit grows each round when the ceiling is tried."""
_BELOW = 0.97
_GONE = 1.15
"""Times the ceiling at which it no longer holds."""
_SAME = 1.25
_HOLD = (2, 16)
"""Rounds before the ceiling is tried: after the first refusal, and at most."""
_PRICE = (6, 30)
"""Times the seconds for which a refusal stopped us that pass before the ceiling is tried: for each round of
the hold, and at most."""
_LONGEST_PAUSE = 5.0
"""Seconds above which a pause is for a window of time to pass, and says nothing of places."""


class Ceiling:
    """The calls under way that a server took when it refused another; `at` is None while it refuses none."""

    __slots__ = ("_before", "_cut_at", "_hold", "_pause", "_rounds", "_tried", "at")

    def __init__(self) -> None:
        self.at: int | None = None
        self._before = 1
        """The limit before the last cut."""
        self._cut_at = -math.inf
        self._pause: float | None = 0.0
        """Seconds from the last cut to the next call; None while none has gone."""
        self._hold = _HOLD[0]
        self._rounds = 0
        self._tried = False

    def began(self, now: float) -> None:
        """A call went."""
        if self._pause is None:
            self._pause = now - self._cut_at

    def refused(self, now: float, began_at: float, in_flight: int, limit: int) -> int | None:
        """The limit after a refusal that leaves `in_flight` calls; None when it changes nothing.

        Calls sent before the last cut belong to its episode. Each of them that is refused, too, was
        counted as taken, and is not.
        """
        if began_at < self._cut_at:
            if self.at is None:
                return None
            self.at = max(1, self.at - 1)
            lower = self._lower()
            return lower if lower < limit else None
        taken = max(1, in_flight)
        if self.at is None or max(taken, self.at) > _SAME * min(taken, self.at):
            self._hold = _HOLD[0]
        elif self._tried:  # and it is still there
            self._hold = min(2 * self._hold, _HOLD[1])
        self.at, self._cut_at, self._rounds, self._tried = taken, now, 0, False
        self._before, self._pause = limit, None
        return self._lower()

    def round_over(self, now: float, limit: int, most: int) -> int:
        """The limit after a round without a refusal; `at` is None when the ceiling is gone."""
        at = self.at or limit
        self._rounds += 1
        if self._rounds == 1:
            return min(most, max(limit, math.ceil(at * _BELOW)))
        if self._rounds <= self._hold or now < self._cut_at + self._price():
            return limit
        self._tried = True
        limit = min(most, round(limit + max(1.0, limit * _GROWTH)))
        if limit == most or limit > max(_GONE * at, at + 1):
            self.at = None
        return limit

    def _lower(self) -> int:
        """What is left by a cut: never more than was taken."""
        return max(1, min(int(self._before * _CUT), math.ceil((self.at or 1) * _BELOW)))

    def _price(self) -> float:
        """Seconds after the cut before which another refusal would cost too much."""
        pause = self._pause or 0.0
        return pause * min(_PRICE[0] * self._hold, _PRICE[1]) if pause <= _LONGEST_PAUSE else 0.0
