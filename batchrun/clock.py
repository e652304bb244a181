"""Time as an argument: what waits or measures takes a `Clock`, so that tests need not sleep."""

from __future__ import annotations

import math
import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """Where a moment comes from, and how to wait for one."""

    def monotonic(self) -> float:
        """Seconds that only ever grow; comparable within this process alone."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch; comparable between processes, may be set back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` (`math.inf`: only by cancellation)."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        if math.isinf(seconds):
            await anyio.sleep_forever()
        await anyio.sleep(seconds)


class PausableClock:
    """A clock whose monotonic time stands still while it is paused: waits of a paused run do not grow old.

    What is waited for by `sleep` goes on. Rate windows that stand still are kept with some to spare.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._paused_at: float | None = None
        self._lost = 0.0

    @property
    def is_paused(self) -> bool:
        """Whether its time stands still."""
        return self._paused_at is not None

    def monotonic(self) -> float:
        now = self._clock.monotonic() if self._paused_at is None else self._paused_at
        return now - self._lost

    def wall(self) -> float:
        return self._clock.wall()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    def pause(self) -> None:
        """Let time stand still."""
        if self._paused_at is None:
            self._paused_at = self._clock.monotonic()

    def resume(self) -> None:
        """Let it go on from there."""
        if self._paused_at is not None:
            self._lost += self._clock.monotonic() - self._paused_at
            self._paused_at = None
