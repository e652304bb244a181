"""Growth by the clock where calls take minutes: by rounds it would take a quarter of an hour to hundreds.

A server that tells its limits in headers refuses what is too much, and at once: ten seconds without a refusal
say that it took what it was sent. Others, such as those of one's own, may let calls queue, which shows only
when they are answered: there nothing grows by the clock. Nor does it for longer than a call takes that does
not queue, nor after a round in which calls queued.

Pure: times are arguments, in monotonic seconds.
"""

from __future__ import annotations

import math

_EVERY = 10.0
"""Seconds between two doublings."""
_QUEUED = 1.25
"""Times the shortest latency from which calls have queued."""


class Haste:
    """When the limit doubles although no round is over."""

    __slots__ = ("_calm", "_grown", "_latency", "_since", "before", "told")

    def __init__(self) -> None:
        self._since = self._grown = 0.0
        self._latency = 0.0
        """Seconds that calls take when none queues: the first one's, or the shortest average of a round."""
        self._calm = True
        """Whether nothing queued in the last round."""
        self.told = False
        """Whether the server tells limits."""
        self.before: int | None = None
        """The limit before the first of these doublings in this round; None while there was none."""

    def round_began(self, now: float) -> None:
        self._since = self._grown = now
        self.before = None

    def first_answered(self, latency: float) -> None:
        """A call went ahead alone."""
        self._latency = min(self._latency or latency, latency)

    def round_over(self, latency: float) -> None:
        """What calls took on average."""
        self.first_answered(latency)
        self._calm = latency <= _QUEUED * self._latency

    def due(self, limit: int, most: int) -> float:
        """When a limit all of which is in use doubles; infinite where a round must show first."""
        moment = self._grown + _EVERY
        shows_first = moment > self._since + self._latency or not self._calm
        return math.inf if not self.told or shows_first or limit >= most else moment

    def grew(self, now: float, limit: int) -> None:
        """The limit was `limit` and doubled."""
        self._grown = now
        self.before = self.before or limit
