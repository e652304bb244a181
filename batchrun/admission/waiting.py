"""How the first in line waits, and what wakes it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from batchrun.admission.gate import Gate
from batchrun.clock import Clock

_TICK = 1e-6
"""Slept on top of a delay: a timer that fires within its resolution must not wake before the moment."""


async def for_slot(ahead: tuple[Gate, ...], seconds: float = math.inf) -> None:
    """Wait until a slot may have become free, or for `seconds`."""
    freed = anyio.Event()
    with _head(ahead, freed), anyio.move_on_after(None if seconds == math.inf else seconds + _TICK):
        await freed.wait()


async def for_moment(ahead: tuple[Gate, ...], seconds: float, cause: Gate, clock: Clock) -> None:
    """Sleep until the moment comes for which `cause` has the call wait, or until a gate wakes it."""
    with anyio.CancelScope() as scope, _head(ahead, scope):
        cause.head_until = clock.monotonic() + seconds
        await clock.sleep(seconds + _TICK)


@contextmanager
def _head(ahead: tuple[Gate, ...], head: anyio.Event | anyio.CancelScope) -> Iterator[None]:
    for gate in ahead:
        gate.head = head
    try:
        yield
    finally:
        for gate in ahead:
            gate.head = gate.head_until = None
