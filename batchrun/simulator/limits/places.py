"""The places in which completions are generated: how many there are may change while they are taken."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from batchrun.simulator.limits.limits import Schedule
from batchrun.simulator.limits.rules import Concurrency

_LATE = 0.001
"""Seconds after a step when those who wait are told of it: never before, by the clock that counts."""


class Places:
    """Who comes first is served first. When places go, those who sit in them stay to their end.

    `clock` gives seconds since the first call, in which the steps of `concurrency` are told; None means
    that there is a place for everyone.
    """

    def __init__(self, concurrency: Concurrency | None, clock: Callable[[], float]) -> None:
        self._schedule = None if concurrency is None else Schedule(concurrency)
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.taken = 0

    @property
    def full(self) -> int | None:
        """How many places there are now, if the next one would have to wait; else None."""
        most = None if self._schedule is None else self._schedule.at(self._clock())
        return None if most is None or (self.taken < most and not self._waiting) else most

    async def __aenter__(self) -> int:
        """Take a place, after waiting for it; how many are taken then, this one among them."""
        if self.full is None:
            self.taken += 1
        else:
            await self._wait()
        return self.taken

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    async def _wait(self) -> None:
        """Wait until a place is given; who gives it counts it as taken."""
        loop = asyncio.get_running_loop()
        place = loop.create_future()
        self._waiting.append(place)
        now = self._clock()
        changes = () if self._schedule is None else self._schedule.changes(now)
        timers = [loop.call_later(at - now + _LATE, self._fill) for at in changes]
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                with suppress(ValueError):  # it may have been passed over already
                    self._waiting.remove(place)
            else:  # given and cancelled in the same turn of the loop
                self._leave()
            raise
        finally:
            for timer in timers:
                timer.cancel()

    def _leave(self) -> None:
        self.taken -= 1
        self._fill()

    def _fill(self) -> None:
        """Give free places to those who have waited longest."""
        if not self._waiting:
            return
        most = None if self._schedule is None else self._schedule.at(self._clock())
        while self._waiting and (most is None or self.taken < most):
            place = self._waiting.popleft()
            if not place.done():
                self.taken += 1
                place.set_result(None)
