"""Virtual time: an event loop whose clock jumps to the next timer as soon as every task waits.

    run_virtual(main)       like `anyio.run(main)`, without the waiting
    VirtualClock()          the `batchrun.clock.Clock` of such a run

Timers fire in the order of their times, so a run is the same each time. When every task waits and no
timer is left, nothing can ever happen again: the run ends with `Stuck` instead of hanging.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

_T = TypeVar("_T")


class Stuck(BaseException):
    """Every task waits for another one. No Exception, so that no task can swallow it."""


class _Selector(selectors.SelectSelector):
    """Waits for files as ever, but never for time: it moves `now` instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Stuck
        self.now += max(0.0, timeout)
        return []


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


class VirtualClock:
    """The time of `run_virtual`; `wall` starts at `epoch` seconds since the epoch."""

    def __init__(self, epoch: float = 1_800_000_000.0) -> None:
        self._epoch = epoch

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return self._epoch + self.monotonic()

    async def sleep(self, seconds: float) -> None:
        if math.isinf(seconds):
            await anyio.sleep_forever()
        await anyio.sleep(seconds)


def run_virtual(main: Callable[[], Awaitable[_T]]) -> _T:
    """Run `main` in virtual time; raises Stuck when every task waits for another one."""
    return anyio.run(main, backend_options={"loop_factory": _VirtualLoop})
