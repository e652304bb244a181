"""Sliding windows of requests and tokens, and the headers that tell of them. Pure: time is an argument."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

from batchrun.simulator.config import Limits


class SlidingWindow:
    """At most `limit` in any half-open stretch of `window` seconds: (t - window, t].

    One entry is kept for each amount inside the window.
    """

    def __init__(self, limit: float, window: float) -> None:
        self.limit = limit
        self.window = window
        self._entries: deque[tuple[float, float]] = deque()
        self._used: float = 0

    def take(self, now: float, amount: float = 1) -> float:
        """Take `amount` and return 0, or take nothing and return the seconds until it would fit.

        An amount above the limit never fits: the wait is infinite. `now` must not go back.
        """
        wait = self.wait(now, amount)
        if wait == 0:
            self.add(now, amount)
        return wait

    def wait(self, now: float, amount: float = 1) -> float:
        """Seconds until `amount` fits; 0 if it fits now."""
        excess = self.used(now) + amount - self.limit
        if excess <= 0:
            return 0
        for at, taken in self._entries:
            excess -= taken
            if excess <= 0:
                return at + self.window - now
        return math.inf

    def add(self, now: float, amount: float) -> None:
        """Count `amount`, whether or not it fits."""
        self._entries.append((now, amount))
        self._used += amount

    def used(self, now: float) -> float:
        """What counts now."""
        while self._entries and self._entries[0][0] + self.window <= now:
            self._used -= self._entries.popleft()[1]
        return self._used

    def remaining(self, now: float) -> float:
        """What still fits now."""
        return max(0, self.limit - self.used(now))

    def reset(self, now: float) -> float:
        """Seconds until the whole limit is free again, if nothing more is taken."""
        self.used(now)
        return self._entries[-1][0] + self.window - now if self._entries else 0.0


@dataclass(frozen=True, slots=True)
class Over:
    """A call over the limit: what ran out, and when the call would fit."""

    what: Literal["requests", "tokens"]
    limit: int
    used: float
    requested: float
    wait: float
    """Seconds; infinite when the call alone is above the limit."""


class ModelLimits:
    """The requests and tokens that one model takes in a window."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._requests = SlidingWindow(limits.rpm, limits.window) if limits.rpm else None
        self._tokens = SlidingWindow(limits.tpm, limits.window) if limits.tpm else None

    def admit(self, now: float, estimate: int) -> Over | None:
        """Count one call of `estimate` tokens, or say which limit it is over."""
        actual = self._limits.count == "actual"
        # Counted by usage, a call is let in while anything is left: its size is not yet known.
        over = self._over(now, 1 if actual else estimate)
        if over is None or self._limits.count_refused:
            self._count(now, 0 if actual else estimate)
        return over

    def settle(self, now: float, tokens: int) -> None:
        """Count the tokens of a finished call, where the limit counts usage."""
        if self._tokens and self._limits.count == "actual":
            self._tokens.add(now, tokens)

    def headers(self, now: float) -> dict[str, str]:
        """`x-ratelimit-*` as OpenAI's rate limits guide describes them; resets are Go durations."""
        named = {"requests": self._requests, "tokens": self._tokens}
        found = {}
        for name, window in named.items():
            if window is not None:
                found[f"x-ratelimit-limit-{name}"] = f"{window.limit:.0f}"
                found[f"x-ratelimit-remaining-{name}"] = f"{window.remaining(now):.0f}"
                found[f"x-ratelimit-reset-{name}"] = go_duration(window.reset(now))
        return found

    def _over(self, now: float, tokens: int) -> Over | None:
        if self._requests and (wait := self._requests.wait(now)):
            return Over("requests", int(self._requests.limit), self._requests.used(now), 1, wait)
        if self._tokens and (wait := self._tokens.wait(now, tokens)):
            return Over("tokens", int(self._tokens.limit), self._tokens.used(now), tokens, wait)
        return None

    def _count(self, now: float, tokens: int) -> None:
        if self._requests:
            self._requests.add(now, 1)
        if self._tokens and tokens:
            self._tokens.add(now, tokens)


def go_duration(seconds: float) -> str:
    """Write a duration as Go's time.Duration does, to the millisecond: `17ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    milliseconds = math.ceil(seconds * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text
