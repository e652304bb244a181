"""The end of a run: the slowest of the last calls are sent a second time, so that no straggler holds it.

Only when no more than 1% of the rows are left, only what takes longer than a quantile of the answers so
far, and no call twice.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from batchrun.answer.in_flight import InFlightCalls
from batchrun.clock import Clock
from batchrun.summary import Counters

SHARE = 0.01
"""The share of the rows that are the tail; one row at least."""

_LOOK = 0.2
"""Seconds between two looks at what is under way."""
_REMEMBERED = 1_000
_ENOUGH = 20
"""Answers before a quantile of them says anything."""


class Latencies:
    """How long a model took for its last answers, in seconds."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)

    def add(self, seconds: float) -> None:
        """Remember one."""
        self._seconds.append(seconds)

    def quantile(self, share: float) -> float:
        """The time within which this share of them came; infinite before enough are known."""
        if len(self._seconds) < _ENOUGH:
            return math.inf
        return sorted(self._seconds)[min(int(share * len(self._seconds)), len(self._seconds) - 1)]


class Tail:
    """Watches the calls under way, and has copies of the slowest sent."""

    def __init__(
        self,
        in_flight_calls: InFlightCalls,
        latencies: Sequence[Latencies],
        counters: Counters,
        *,
        hedge_after: float,
        clock: Clock,
    ) -> None:
        self._in_flight_calls = in_flight_calls
        self._latencies = latencies
        self._counters = counters
        self._hedge_after = hedge_after
        self._clock = clock

    async def watch(self) -> None:
        """Look at the calls under way until cancelled."""
        async with anyio.create_task_group() as group:
            while True:
                await self._clock.sleep(_LOOK)
                if self._is_reached() and not self._in_flight_calls.is_draining:
                    self._copy_slow_ones(group)

    def _is_reached(self) -> bool:
        left = self._counters.to_do - self._counters.finished
        return 0 < left <= max(1, math.ceil(SHARE * self._counters.to_do))

    def _copy_slow_ones(self, group: TaskGroup) -> None:
        limits = [latencies.quantile(self._hedge_after) for latencies in self._latencies]
        now = self._clock.monotonic()
        for flight in self._in_flight_calls:
            if flight.copy and not flight.copy_ended and now - flight.started > limits[flight.model_index]:
                flight.copy_ended = anyio.Event()
                group.start_soon(flight.copy, flight)
