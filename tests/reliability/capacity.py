"""Servers of a hidden capacity, by discrete events: told the time, they say when the next answer is ready.

Work is seconds in a slot, or tokens on the engine that batches.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True, eq=False)
class Call:
    """One call; `work` is the seconds it takes alone, or its tokens on an engine that batches."""

    began_at: float
    work: float
    tokens: int | None


Work = Callable[[random.Random], tuple[float, int | None]]


def constant(seconds: float) -> Work:
    return lambda rng: (seconds, None)


def lognormal(median: float, sigma: float) -> Work:
    return lambda rng: (rng.lognormvariate(math.log(median), sigma), None)


def by_length(median: int, sigma: float, token_seconds: float) -> Work:
    """Output tokens are lognormal, and each takes the same time."""

    def work(rng: random.Random) -> tuple[float, int | None]:
        tokens = max(1, round(rng.lognormvariate(math.log(median), sigma)))
        return tokens * token_seconds, tokens

    return work


class Server(Protocol):
    """What serves calls. `next_end` is when the next answer is ready, infinite for none."""

    def take(self, now: float, call: Call) -> bool:
        """Whether the call is accepted."""

    def next_end(self, now: float) -> float: ...
    def finish(self, now: float) -> Call: ...
    def resize(self, now: float, slots: int) -> None: ...


class RefusingServer:
    """Takes `slots` calls at once and refuses more; what it has taken it finishes."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._ends: list[tuple[float, int, Call]] = []
        self._count = 0

    def take(self, now: float, call: Call) -> bool:
        if len(self._ends) >= self.slots:
            return False
        self._serve(now, call)
        return True

    def next_end(self, now: float) -> float:
        return self._ends[0][0] if self._ends else math.inf

    def finish(self, now: float) -> Call:
        return heapq.heappop(self._ends)[2]

    def resize(self, now: float, slots: int) -> None:
        self.slots = slots

    def _serve(self, now: float, call: Call) -> None:
        self._count += 1
        heapq.heappush(self._ends, (now + call.work, self._count, call))


class QueueingServer(RefusingServer):
    """Serves `slots` calls at once and lets the others wait, first come, first served."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self._waiting: deque[Call] = deque()

    def take(self, now: float, call: Call) -> bool:
        self._waiting.append(call)
        self._fill(now)
        return True

    def finish(self, now: float) -> Call:
        call = super().finish(now)
        self._fill(now)
        return call

    def resize(self, now: float, slots: int) -> None:
        self.slots = slots
        self._fill(now)

    def _fill(self, now: float) -> None:
        while self._waiting and len(self._ends) < self.slots:
            self._serve(now, self._waiting.popleft())


class BatchingEngine:
    """Makes `peak` × b / (b + `half`) tokens a second for b calls at once, shared evenly."""

    def __init__(self, peak: float, half: int = 40) -> None:
        self.peak, self.half = peak, half
        self._done = 0.0
        """Tokens made so far for a call that was there from the beginning."""
        self._at = 0.0
        self._ends: list[tuple[float, int, Call]] = []
        self._count = 0

    def take(self, now: float, call: Call) -> bool:
        self._advance(now)
        self._count += 1
        heapq.heappush(self._ends, (self._done + call.work, self._count, call))
        return True

    def next_end(self, now: float) -> float:
        if not self._ends:
            return math.inf
        self._advance(now)
        return now + max(0.0, self._ends[0][0] - self._done) / self._pace()

    def finish(self, now: float) -> Call:
        self._advance(now)
        return heapq.heappop(self._ends)[2]

    def resize(self, now: float, slots: int) -> None:
        self._advance(now)
        self.peak = float(slots)

    def tokens_per_second(self, calls: int) -> float:
        return self.peak * calls / (calls + self.half)

    def _pace(self) -> float:
        return self.peak / (len(self._ends) + self.half)

    def _advance(self, now: float) -> None:
        self._done += (now - self._at) * self._pace()
        self._at = now


class MinuteServer(RefusingServer):
    """Serves any number at once, and refuses what goes beyond `per_minute` in each minute of its clock."""

    def __init__(self, per_minute: int) -> None:
        super().__init__(10**9)
        self._per_minute = per_minute
        self._minute, self._used = 0, 0

    def take(self, now: float, call: Call) -> bool:
        if (minute := int(now // 60)) != self._minute:
            self._minute, self._used = minute, 0
        self._used += 1
        return self._used <= self._per_minute and super().take(now, call)
