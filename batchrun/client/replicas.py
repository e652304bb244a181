"""Which of several equal servers a call goes to. Pure: times are monotonic seconds, passed in.

Each call goes to the replica with the fewest under way; among equals they take turns. So a slow one gets
less. One that fails is put aside, for 1 s, then 2 s, up to 60 s; after that a single call tries it. What was
under way when it was put aside says nothing more about it, however it ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

FIRST_ASIDE = 1.0
LONGEST_ASIDE = 60.0
"""Seconds that a replica is put aside."""

MOST_FAILURES = 3
"""Failures in a row of a replica that can be reached. Of calls that fail by chance, 5% say, three in a row
are one in 8,000; and a server that fails at once draws no more calls than that by having few under way."""

Result: TypeAlias = Literal["ok", "unreachable", "failed"]
"""What a call says of its replica."""


class Choice(NamedTuple):
    """A replica, by its position, and how often it had been put aside when it was chosen."""

    replica: int
    era: int


@dataclass(slots=True)
class _Replica:
    in_flight: int = 0
    failures: int = 0
    era: int = 0
    aside: float = 0.0
    """For how long it was put aside last; 0 while it serves."""
    until: float = -math.inf
    tries: int = 0
    """Calls under way of this era, at one that is aside."""


class Replicas:
    """The replicas of one endpoint, as far as their calls have shown them."""

    def __init__(self, count: int) -> None:
        self._replicas = [_Replica() for _ in range(count)]
        self._last = -1

    def choose(self, now: float) -> Choice:
        """The replica for the next call, which counts as under way until `ended`.

        One whose time aside is over comes first, for one call. Where all are aside, that is the one whose
        time is over next.
        """
        at = self._due(now)
        if at is None:
            at = self._serving()
        if at is None:
            at = min(range(len(self._replicas)), key=self._next_due)
        replica = self._replicas[at]
        replica.in_flight += 1
        replica.tries += replica.aside > 0
        self._last = at
        return Choice(at, replica.era)

    def ended(self, choice: Choice, now: float, result: Result | None) -> None:
        """Learn how a call ended; None: it was cancelled, or says nothing."""
        replica = self._replicas[choice.replica]
        replica.in_flight -= 1
        if choice.era != replica.era:
            return
        replica.tries = max(0, replica.tries - 1)
        if result == "ok":
            replica.failures, replica.aside, replica.tries = 0, 0.0, 0
        elif result is not None:
            replica.failures += 1
            if result == "unreachable" or replica.aside > 0 or replica.failures >= MOST_FAILURES:
                self._put_aside(replica, now)

    def aside(self, at: int) -> float:
        """For how many seconds a replica was put aside last, 0 while it serves."""
        return self._replicas[at].aside

    def _put_aside(self, replica: _Replica, now: float) -> None:
        replica.aside = min(max(2 * replica.aside, FIRST_ASIDE), LONGEST_ASIDE)
        replica.until = now + replica.aside
        replica.era += 1
        replica.failures = replica.tries = 0

    def _due(self, now: float) -> int | None:
        due = [
            (replica.until, at)
            for at, replica in enumerate(self._replicas)
            if replica.aside > 0 and not replica.tries and now >= replica.until
        ]
        return min(due)[1] if due else None

    def _serving(self) -> int | None:
        serving = [at for at, replica in enumerate(self._replicas) if replica.aside == 0]
        return min(serving, key=self._load) if serving else None

    def _load(self, at: int) -> tuple[int, int]:
        return self._replicas[at].in_flight, (at - self._last - 1) % len(self._replicas)

    def _next_due(self, at: int) -> tuple[bool, float, tuple[int, int]]:
        replica = self._replicas[at]
        tried = replica.tries > 0
        return tried, 0.0 if tried else replica.until, self._load(at)
