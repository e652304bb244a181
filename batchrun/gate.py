"""The gate of one endpoint, or of one model at an endpoint: slots, rates, pauses, closing.

A gate never waits: it says for how long a call would have to (`delay`) and keeps the books of those
that go. `admission` does the waiting. Times are monotonic seconds, passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Literal, TypeAlias

import anyio

from batchrun.limits import Charge, Limits, RateLimits
from batchrun.outcome import Error

Reason: TypeAlias = Literal["limits", "rate limit", "retry-after", "unreachable"]
"""What a call waits for: the job's own limits, a pause of ours after a 429, a pause the server named."""

_RESUME = 1.0
"""Seconds over which a gate without rate limits lets its first calls after a pause go."""
_RESUME_CALLS = 32
"""How many calls those are where no concurrency says so."""
_ROUNDING = 0.01


class Gate:
    """What one endpoint (`model` None) or model lets through."""

    def __init__(self, limits: Limits, *, endpoint: str, model: str | None) -> None:
        self.endpoint, self.model = endpoint, model
        self.line = anyio.Lock(fast_acquire=True)
        """Held by the first in line; the others wait for it in the order of their coming."""
        self.head: anyio.Event | anyio.CancelScope | None = None
        """Wakes the first in line: from its wait for a slot, or from its sleep."""
        self.head_until: float | None = None
        """When that sleep ends, if it is for this gate."""
        self.proven = model is None
        self._slots = limits.most_in_flight or math.inf
        self._in_flight = 0
        limited = limits.rpm is not None or limits.tpm is not None
        self._rates = RateLimits(rpm=limits.rpm, tpm=limits.tpm) if limited else None
        self._paused_until = self._resumed_at = self._next_call = -math.inf
        self._pause_reason: Reason = "retry-after"
        self._closed: Error | None = None
        self._opens = math.inf

    def delay(self, now: float, tokens: int) -> float:
        """Seconds until a call of `tokens` may go, 0 when it may go now; infinite while no slot is free."""
        if self._in_flight >= (self._slots if self.proven else 1):
            return math.inf
        rate = self._rates.delay(now, tokens) if self._rates else self._next_call - now
        return max(0.0, self._paused_until - now, rate)

    def take(self, now: float, tokens: int, jitter: Callable[[], float]) -> Charge | None:
        """Count a call that goes now; `release` gives its slot back."""
        self._in_flight += 1
        if self._rates:
            return self._rates.charge(now, tokens)
        if now < self._resumed_at:
            calls = self._slots if self._slots < math.inf else _RESUME_CALLS
            self._next_call = now + 2 * jitter() * _RESUME / calls
        return None

    def release(self) -> None:
        self._in_flight -= 1
        self.slot_freed()

    def settle(self, charge: Charge | None, now: float, tokens: int) -> None:
        if self._rates and charge:
            self._rates.settle(charge, now, tokens)

    def prove(self) -> None:
        """Calls may go side by side from now on."""
        self.proven = True
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

    def pause(self, until: float, reason: Reason) -> None:
        """Let nobody through before `until`; never shortens an earlier pause."""
        if until > self._paused_until:
            self._paused_until, self._pause_reason = until, reason
            self._resumed_at = until + _RESUME

    def close(self, reason: Error, opens: float) -> None:
        """Let nobody through until `opens`; never shortens an earlier closing."""
        if self._closed is None or opens > self._opens:
            self._closed, self._opens = reason, opens

    def closed(self, now: float) -> tuple[Error, float] | None:
        """Why it is closed, and until when (infinite: for good); None when it is open."""
        if self._closed is not None and now >= self._opens:
            self._closed = None
        return None if self._closed is None else (self._closed, self._opens)

    def waits(self, now: float) -> tuple[Reason, float] | None:
        """What the first in line sleeps for, and for how many seconds still."""
        if self.head_until is None:
            return None
        paused = self._paused_until > self.head_until - _ROUNDING
        until = max(self._paused_until, self.head_until)
        return self._pause_reason if paused else "limits", max(0.0, until - now)

    def snapshot(self, now: float, wall: float) -> dict[str, Any]:
        """What a later process must honour, for JSON; times in seconds since the epoch."""
        state: dict[str, Any] = {"endpoint": self.endpoint, "model": self.model}
        if self._rates and (sent := self._rates.snapshot(now, wall)):
            state["sent"] = sent
        if self._paused_until > now:
            state["paused"] = {"until": wall + self._paused_until - now, "reason": self._pause_reason}
        closed = self.closed(now)
        if closed and closed[1] < math.inf:
            state["closed"] = {"until": wall + closed[1] - now, "reason": asdict(closed[0])}
        return state

    def restore(self, state: Mapping[str, Any], now: float, wall: float) -> None:
        """Honour a `snapshot` of an earlier process."""
        if self._rates:
            self._rates.restore(now, wall, state.get("sent", ()))
        if paused := state.get("paused"):
            self.pause(now + paused["until"] - wall, paused["reason"])
        if (closed := state.get("closed")) and closed["until"] > wall:
            self.close(Error(**closed["reason"]), now + closed["until"] - wall)
