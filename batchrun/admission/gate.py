"""The gate of one endpoint, or of one model at an endpoint: slots, rates, pauses, the circuit, closing.

A gate never waits: it says for how long a call would have to (`delay`) and keeps the books of those
that go. `admission` does the waiting. Times are monotonic seconds, passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import anyio

from batchrun.admission.circuit import Circuit, Report
from batchrun.admission.states import Reason
from batchrun.concurrency import AdaptiveConcurrency, Result
from batchrun.limits import Charge, Limits, RateLimits, Size
from batchrun.limits.headers import RateAccount
from batchrun.outcome import Error
from batchrun.value import value

_RESUME = 1.0
"""Seconds over which the first calls after a pause go, and no longer than the pause."""
_RESUME_CALLS = 32
"""How many calls those are where no concurrency says so."""
_ROUNDING = 0.01
_LEAST = 20


@value(frozen=True, slots=True)
class CallFeedback:
    """What the answer to a call tells its gates."""

    result: Result
    used: int | None = None
    """Tokens, where the server says."""
    output_tokens: int | None = None
    account: RateAccount | None = None
    """The server's own account of its limits, from the headers."""
    proves: bool = False
    """Whether it shows that server, key and model work: calls may go side by side."""
    report: Report | None = None
    """What it says of the endpoint as a whole."""
    row: int = -1
    error: Error | None = None


class Gate:
    """What one endpoint (`model` None) or model lets through."""

    def __init__(self, limits: Limits, *, endpoint: str, model: str | None, circuit: Circuit | None) -> None:
        self.endpoint, self.model = endpoint, model
        self.line = anyio.Lock(fast_acquire=True)
        """Held by the first in line; the others wait for it in the order of their coming."""
        self.head: anyio.Event | anyio.CancelScope | None = None
        """Wakes the first in line: from its wait for a slot, or from its sleep."""
        self.head_until: float | None = None
        """When that sleep ends, if it is for this gate."""
        self.models: list[Gate] = []
        """An endpoint's: the gates of its models."""
        self.proven = model is None
        self.held = False
        """Whether nobody may go, as long as the user has the run paused."""
        self.rates = RateLimits(limits)
        self.circuit = circuit
        self.adaptive = AdaptiveConcurrency(limits.max_concurrency) if limits.concurrency == "auto" else None
        self._fixed = limits.most_in_flight or math.inf
        self._in_flight = 0
        self._paused_until = self._resumed_at = self._next_call = -math.inf
        self._resume = _RESUME
        self._pause_reason: Reason = "retry-after"
        self._closed: Error | None = None
        self._opens = math.inf
        self._leavers: dict[anyio.CancelScope, frozenset[str]] = {}
        """Of calls in line that would rather go to another model than wait, with their reasons."""
        self._trouble: Error | None = None
        """Why calls failed last."""

    @property
    def slots(self) -> float:
        """Calls that may be under way at once now."""
        if not self.proven:
            return 1
        return self._fixed if self.adaptive is None else self.adaptive.limit

    @property
    def most_slots(self) -> float:
        """Calls that workers should be there for.

        Of a limit that is found out 20 at least, and while it may grow by the clock one more, which waits
        for that.
        """
        if self.adaptive is None:
            return self.slots
        return max(self.slots, _LEAST) + (self.adaptive.grows_at() < math.inf)

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return self._in_flight

    def delay(self, now: float, size: Size) -> float:
        """Seconds until a call of `size` may go, 0 when it may go now; infinite while no slot is free, or it
        is held."""
        if self.held or (self._in_flight >= self.slots and not self._grown(now)):
            return math.inf
        circuit = self.circuit.delay(now) if self.circuit else 0.0
        return max(circuit, self.rates.delay(now, size), self._paused_until - now, self._next_call - now)

    def grows_in(self, now: float) -> float:
        """Seconds until there are more slots although none becomes free; infinite when that is not known."""
        if self.held or self.adaptive is None or not self.proven or self._in_flight < self.slots:
            return math.inf
        return max(0.0, self.adaptive.grows_at() - now)

    def _grown(self, now: float) -> bool:
        return bool(
            self.adaptive and self.proven and self.adaptive.wait(now) and self._in_flight < self.slots
        )

    def take(self, now: float, size: Size, jitter: Callable[[], float]) -> Charge:
        """Count a call that goes now; `release` gives its slot back."""
        self._in_flight += 1
        if self.adaptive:
            self.adaptive.began(now, self._in_flight)
        if self.circuit:
            self.circuit.began()
        if now < self._resumed_at:
            calls = self.slots if self.slots < math.inf else _RESUME_CALLS
            self._next_call = now + 2 * jitter() * self._resume / calls
        return self.rates.charge(now, size)

    def finished(
        self, charge: Charge, now: float, feedback: CallFeedback, jitter: Callable[[], float]
    ) -> None:
        """Learn from what came of a call."""
        if self.circuit:
            was_open = self.tripped(now)
            self.circuit.ended(now, charge.sent_at, feedback.report, row=feedback.row, jitter=jitter())
            if feedback.report in ("failed", "unreached"):
                self._trouble = feedback.error
            if was_open and not self.tripped(now):
                self._resume, self._resumed_at = _RESUME, now + _RESUME
        sooner = self.rates.settle(charge, now, feedback.used)
        if feedback.account is not None and self.model is not None:  # it is of the model that answered
            sooner |= self.rates.told(charge, now, feedback.account)
        if sooner:
            self.wake()  # who sleeps does so for what was known before
        if self.adaptive:
            if feedback.account is not None:
                self.adaptive.limits_told()
            self.adaptive.ended(now, charge.sent_at, feedback.result, feedback.output_tokens)
        if feedback.proves and not self.proven:
            self.proven = True
            self.slot_freed()

    def release(self) -> None:
        """Give a slot back."""
        self._in_flight -= 1
        if self.head is not None:
            self.slot_freed()

    def slot_freed(self) -> None:
        """The first in line looks again, if it waits for a slot."""
        if isinstance(self.head, anyio.Event):
            self.head.set()

    def wake(self) -> None:
        """The first in line looks again, whatever it waits for."""
        self.slot_freed()
        if isinstance(self.head, anyio.CancelScope):
            self.head.cancel()

    def pause(self, now: float, until: float, reason: Reason) -> None:
        """Let nobody through before `until`; never shortens an earlier pause."""
        if until > self._paused_until:
            self._paused_until, self._pause_reason = until, reason
            self._resume = min(_RESUME, until - now)  # after a short pause few calls are due
            self._resumed_at = until + self._resume

    def close(self, reason: Error, opens: float) -> None:
        """Let nobody through until `opens`; never shortens an earlier closing.

        Whoever waits leaves at once. When it opens again, one call goes first.
        """
        if self._closed is None or opens > self._opens:
            self._closed, self._opens = reason, opens
        for gate in [self] if self.model is not None else self.models:
            gate.proven = False
            gate.wake()  # whoever is first at the endpoint is first at its model, too

    def closed(self, now: float) -> tuple[Error, float] | None:
        """Why it is closed, and until when (infinite: for good); None when it is open."""
        if self._closed is not None and now >= self._opens:
            self._closed = None
        return None if self._closed is None else (self._closed, self._opens)

    @contextmanager
    def in_line(self, leave_for: frozenset[str]) -> Iterator[None]:
        """Wait for a call's turn, but no longer than until `send_away` for one of these reasons."""
        if not leave_for:
            yield
            return
        with anyio.CancelScope() as scope:
            self._leavers[scope] = leave_for
            try:
                yield
            finally:
                del self._leavers[scope]

    def send_away(self, reason: str) -> None:
        """Whoever waits, and goes to another model for this reason, leaves the line."""
        for scope, leave_for in self._leavers.items():
            if reason in leave_for:
                scope.cancel()

    def tripped(self, now: float) -> bool:
        """Whether the circuit is not closed."""
        return self.circuit is not None and self.circuit.state(now) != "closed"

    def trouble(self, now: float) -> tuple[Error, float] | None:
        """Why the endpoint is not asked while its circuit is open, and for how many seconds; else None."""
        if self.circuit is None or self._trouble is None or not self.tripped(now):
            return None
        wait = self.circuit.delay(now)
        return (self._trouble, 0.0 if wait == math.inf else wait) if wait > 0 else None

    def waits(self, now: float) -> tuple[Reason, float] | None:
        """What the first in line sleeps for, and for how many seconds still."""
        if self.head_until is None:
            return None
        if trouble := self.trouble(now):
            return "unreachable", trouble[1]
        paused = self._paused_until > self.head_until - _ROUNDING
        until = max(self._paused_until, self.head_until)
        return self._pause_reason if paused else "limits", max(0.0, until - now)

    def snapshot(self, now: float, wall: float) -> dict[str, Any]:
        """What a later process must honour, for JSON; times in seconds since the epoch."""
        state: dict[str, Any] = {"endpoint": self.endpoint, "model": self.model}
        if rates := self.rates.snapshot(now, wall):
            state["rates"] = rates
        if self.adaptive:
            state["concurrency"] = self.adaptive.snapshot()
        if self._paused_until > now:
            state["paused"] = {"until": wall + self._paused_until - now, "reason": self._pause_reason}
        closed = self.closed(now)
        if closed and closed[1] < math.inf:
            state["closed"] = {"until": wall + closed[1] - now, "reason": asdict(closed[0])}
        return state

    def restore(self, state: Mapping[str, Any], now: float, wall: float) -> None:
        """Honour a `snapshot` of an earlier process."""
        if rates := state.get("rates"):
            self.rates.restore(now, wall, rates)
        if self.adaptive and (learned := state.get("concurrency")):
            self.adaptive.restore(learned)
        if paused := state.get("paused"):
            self.pause(now, now + paused["until"] - wall, paused["reason"])
        if (closed := state.get("closed")) and closed["until"] > wall:
            self.close(Error(**closed["reason"]), now + closed["until"] - wall)


def still_binds(state: Mapping[str, Any], wall: float) -> bool:
    """Whether a `snapshot` has a pause or a closing that has not passed."""
    return any(state.get(key, {}).get("until", 0.0) > wall for key in ("paused", "closed"))
