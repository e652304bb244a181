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
