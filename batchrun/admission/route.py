"""The way of a call: through its model's gate, then its endpoint's; and how the first in line waits.

Only the first in line looks at slots, rates and pauses, so a small prompt never overtakes a large one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import anyio

from batchrun.admission.gate import CallFeedback, Gate
from batchrun.admission.states import Unavailable
from batchrun.clock import Clock
from batchrun.limits import Charge, Size
from batchrun.outcome import Error

_TICK = 1e-6
"""Slept on top of a delay: a timer that fires within its resolution must not wake before the moment."""


class Route:
    """The gates that calls to a model pass; `max_wait`: seconds that they wait for a limit at most."""

    __slots__ = ("_clock", "_jitter", "_max_wait", "endpoint", "gates", "model")

    def __init__(
        self, model: Gate, endpoint: Gate, *, clock: Clock, jitter: Callable[[], float], max_wait: float
    ) -> None:
        self.model, self.endpoint = model, endpoint
        self.gates = model, endpoint
        self._clock = clock
        self._jitter = jitter
        self._max_wait = max_wait

    def closed(self, now: float) -> Unavailable | None:
        """Why no call goes, if a gate is closed."""
        for gate in self.gates:
            if found := gate.closed(now):
                return closed_by(gate, found, now, self._clock)
        return None

    def shut(self, now: float, leave_for: frozenset[str]) -> Unavailable | None:
        """What a call gets for a turn: a gate is closed, or the circuit open for one of these reasons."""
        if found := self.closed(now):
            return found
        trouble = self.endpoint.trouble(now)
        if trouble is None or trouble[0].type not in leave_for:
            return None
        return Unavailable(self.endpoint.endpoint, None, trouble[0], self._clock.wall() + trouble[1])

    def is_free(self, now: float, size: Size) -> bool:
        """Whether a call of `size` may go without a wait, and nobody waits already."""
        for gate in self.gates:  # noqa: SIM110 - it is asked for every call, and `all` takes longer
            if gate.head is not None or gate.delay(now, size) > 0:
                return False
        return True

    async def ready(
        self, ahead: tuple[Gate, ...], size: Size, leave_for: frozenset[str]
    ) -> Unavailable | None:
        """Return when the gates `ahead`, whose lines are held, let a call go, or when the route is `shut`."""
        while True:
            now = self._clock.monotonic()
            if found := self.shut(now, leave_for):
                return found
            delays = [gate.delay(now, size) for gate in ahead]
            longest = max(delays)
            if longest <= 0:
                return None
            if longest == math.inf:
                await for_slot(ahead, min(gate.grows_in(now) for gate in ahead))
            elif longest > self._max_wait and self._close_spent(ahead[0], now, size):
                continue
            else:
                await _for_moment(ahead, longest, ahead[delays.index(longest)], self._clock)

    def take(self, size: Size) -> tuple[Charge, Charge]:
        """Count a call that goes now."""
        now = self._clock.monotonic()
        return self.model.take(now, size, self._jitter), self.endpoint.take(now, size, self._jitter)

    def finished(self, charges: tuple[Charge, Charge], feedback: CallFeedback) -> None:
        """Learn from what came of a call."""
        now = self._clock.monotonic()
        model, endpoint = self.gates
        was_open = endpoint.trouble(now) is not None
        model.finished(charges[0], now, feedback, self._jitter)
        endpoint.finished(charges[1], now, feedback, self._jitter)
        if (counted := model.rates.counted) and endpoint.rates.counts(counted):
            endpoint.wake()
        if endpoint.circuit and endpoint.circuit.exhausted and feedback.error:
            endpoint.close(feedback.error, math.inf)
        elif not was_open and (trouble := endpoint.trouble(now)):
            endpoint.send_away(trouble[0].type)  # who has another model goes there

    def per_minute(self, unit: Literal["requests", "tokens"]) -> float | None:
        """The least that goes to the model in a minute, by its limits and its endpoint's; None: no limit."""
        known = (gate.rates.per_minute(unit) for gate in self.gates)
        return min((limit for limit in known if limit is not None), default=None)

    def _close_spent(self, gate: Gate, now: float, size: Size) -> bool:
        """Close a model whose day's limit is used up, as its Retry-After would; whether that was done."""
        spent = gate.rates.spent(now, size)
        if spent is None or spent[1] <= self._max_wait:
            return False
        gate.close(Error("rate_limit", spent[0]), now + spent[1])
        return True


def closed_by(gate: Gate, found: tuple[Error, float], now: float, clock: Clock) -> Unavailable:
    """What a gate says that is `closed`, with the wall-clock time at which it opens."""
    reason, opens = found
    until = None if opens == math.inf else clock.wall() + opens - now
    return Unavailable(gate.endpoint, gate.model, reason, until)


async def for_slot(ahead: tuple[Gate, ...], seconds: float = math.inf) -> None:
    """Wait until a slot may have become free, or for `seconds`."""
    freed = anyio.Event()
    with _head(ahead, freed), anyio.move_on_after(None if seconds == math.inf else seconds + _TICK):
        await freed.wait()


async def _for_moment(ahead: tuple[Gate, ...], seconds: float, cause: Gate, clock: Clock) -> None:
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
