"""A limit over a stretch too long for a log of it (an hour, a day): what is left, and when it comes back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class Stock:
    """What may still be sent before `back_at`, by what the server said last; infinite before it does."""

    __slots__ = ("_flow", "_limit", "_since", "back_at", "left")

    def __init__(self) -> None:
        self.left = math.inf
        self.back_at = -math.inf
        self._limit: float = math.inf
        self._flow = 0.0
        self._since = -math.inf

    def told(self, now: float, limit: int | None, remaining: int, reset: float, flow: float) -> None:
        """`remaining` is what the server has left, less what is on its way to it; whole again in `reset`.

        `flow`: how much of it comes back in a second, 0 where it comes back at once.
        """
        self._limit = math.inf if limit is None else limit
        self.left, self.back_at = float(remaining), now + reset
        self._flow, self._since = flow, now

    def delay(self, now: float, amount: int) -> float:
        """Seconds until `amount` may go; an amount above the limit waits for all of it."""
        if now >= self.back_at:
            return 0.0
        lacking = min(amount, self._limit) - self.left - (now - self._since) * self._flow
        if lacking <= 0:
            return 0.0
        whole = self.back_at - now
        return min(whole, lacking / self._flow) if self._flow else whole

    def take(self, now: float, amount: int) -> None:
        """`amount` goes."""
        if now >= self.back_at:  # whole again: nothing holds it back until the server speaks
            self.left = self._limit
            self._since, self._flow = now, 0.0
        self.left -= amount

    def snapshot(self, now: float, wall: float) -> dict[str, Any] | None:
        """For JSON; None where nothing is held back."""
        if now >= self.back_at or self.left == math.inf:
            return None
        limit = None if self._limit == math.inf else self._limit
        left = self.left + (now - self._since) * self._flow
        return {"left": left, "limit": limit, "until": wall + self.back_at - now, "flow": self._flow}

    def restore(self, now: float, wall: float, state: Mapping[str, Any]) -> None:
        """Take up a `snapshot`."""
        self.told(now, state["limit"], state["left"], state["until"] - wall, state["flow"])
