"""The requests and tokens that a simulated model takes in a window. Pure: time is an argument."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from batchrun.simulator.limits.headers import Account, limit_headers
from batchrun.simulator.limits.rules import DAY, ConcurrencyStep, Limits, RpmStep, TpmStep


class Schedule:
    """A number that holds from each of some times on."""

    def __init__(self, limit: int | Sequence[RpmStep | TpmStep | ConcurrencyStep]) -> None:
        steps = [(0.0, limit)] if isinstance(limit, int) else [(step.at, _number(step)) for step in limit]
        self._now = steps[0][1]
        self._later = steps[1:]

    def at(self, now: float) -> int:
        """The number that holds; `now` must not go back."""
        while self._later and self._later[0][0] <= now:
            self._now = self._later.pop(0)[1]
        return self._now

    def changes(self, now: float) -> Iterator[float]:
        """When it changes after `now`."""
        return (at for at, _ in self._later if at > now)


def _number(step: RpmStep | TpmStep | ConcurrencyStep) -> int:
    match step:
        case RpmStep(rpm=number) | TpmStep(tpm=number) | ConcurrencyStep(concurrency=number):
            return number


class SlidingWindow:
    """At most `limit` in any half-open stretch of `window` seconds: (t - window, t].

    One entry is kept for each amount inside the window.
    """

    def __init__(self, limit: float, window: float) -> None:
        self.limit = limit
        self.window = window
        self._entries: deque[tuple[float, float]] = deque()
        self._used: float = 0

    def wait(self, now: float, amount: float) -> float:
        """Seconds until `amount` fits; 0 if it fits now, infinite if it never does; `now` never goes back."""
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

    def change(self, now: float, limit: float) -> None:
        """Let another limit hold from `now` on; what is used stays used."""
        self.limit = limit

    def reset(self, now: float) -> float:
        """Seconds until the whole limit is free again, if nothing more is taken."""
        self.used(now)
        return self._entries[-1][0] + self.window - now if self._entries else 0.0


class Bucket:
    """At most `limit` at once; what is used comes back all the time, `limit` in `window` seconds.

    So the time until all is free again is used / limit x window, as OpenAI's headers have it.
    """

    def __init__(self, limit: float, window: float) -> None:
        self.limit = limit
        self.window = window
        self._at = 0.0
        self._used: float = 0

    def wait(self, now: float, amount: float) -> float:
        """Seconds until `amount` fits; 0 if it fits now, infinite if it never does."""
        if amount > self.limit:
            return math.inf
        excess = self.used(now) + amount - self.limit
        return excess * self.window / self.limit if excess > _DUST else 0

    def add(self, now: float, amount: float) -> None:
        """Count `amount`, whether or not it fits."""
        self._used = self.used(now) + amount

    def used(self, now: float) -> float:
        """What has not come back by now."""
        self._used = max(0.0, self._used - (now - self._at) * self.limit / self.window)
        self._at = now
        return self._used

    def change(self, now: float, limit: float) -> None:
        """Let another limit hold from `now` on; what is used stays used."""
        self.used(now)
        self.limit = limit

    def reset(self, now: float) -> float:
        """Seconds until the whole limit is free again, if nothing more is taken."""
        return self.used(now) * self.window / self.limit


_DUST = 1e-6
"""Rounding errors of a bucket's level are below this share of a request."""


@dataclass(frozen=True, slots=True)
class Over:
    """A call over the limit: what ran out, and when the call would fit."""

    what: Literal["requests", "tokens"]
    limit: int
    used: float
    requested: float
    wait: float
    """Seconds; infinite when the call alone is above the limit."""
    per: Literal["min", "day"]
    """The window by its name: that of `rpm` and `tpm` is called a minute, however long it is."""


class _Limit:
    """One limit of a model: what it counts, and how much of it is used."""

    def __init__(
        self,
        what: Literal["requests", "tokens"],
        per: Literal["min", "day"],
        schedule: Schedule,
        window: float,
        kind: str,
    ) -> None:
        self.what: Literal["requests", "tokens"] = what
        self.per: Literal["min", "day"] = per
        self._schedule = schedule
        self._book = (Bucket if kind == "bucket" else SlidingWindow)(schedule.at(0), window)

    def now(self, now: float) -> SlidingWindow | Bucket:
        """The book, under the limit that holds now."""
        limit = self._schedule.at(now)
        if limit != self._book.limit:
            self._book.change(now, limit)
        return self._book

    def over(self, now: float, amount: int) -> Over | None:
        """Why `amount` does not fit, if it does not. A wait reckons with the limit of now."""
        book = self.now(now)
        wait = book.wait(now, amount)
        return Over(self.what, int(book.limit), book.used(now), amount, wait, self.per) if wait else None

    def account(self, now: float) -> Account:
        """What headers tell of it."""
        book = self.now(now)
        left = max(0, math.floor(book.limit - book.used(now) + _DUST))
        return Account(self.what, int(book.limit), left, book.reset(now), book.window)


class ModelLimits:
    """The requests and tokens that one model takes; `now` is in seconds since the first call."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._all = list(_made(limits))

    def admit(self, now: float, estimate: int) -> Over | None:
        """Count one call of `estimate` tokens, or say which limit it is over."""
        actual = self._limits.count == "actual"
        # Counted by usage, a call is let in while anything is left: its size is not yet known.
        size = 1 if actual else estimate
        over = None
        for limit in self._all:
            if over := limit.over(now, 1 if limit.what == "requests" else size):
                break
        if over is None or self._limits.count_refused:
            self._count(now, "requests", 1)
            self._count(now, "tokens", 0 if actual else estimate)
        return over

    def settle(self, now: float, tokens: int) -> None:
        """Count the tokens of a finished call, where the limit counts usage."""
        if self._limits.count == "actual":
            self._count(now, "tokens", tokens)

    def headers(self, now: float, wall: float = 0.0) -> dict[str, str]:
        """What answers tell of the limits; `wall` is the same moment in seconds since the epoch."""
        if not self._all:
            return {}
        return limit_headers(self._limits.headers, [limit.account(now) for limit in self._all], wall)

    def _count(self, now: float, what: str, amount: int) -> None:
        if amount:
            for limit in self._all:
                if limit.what == what:
                    limit.now(now).add(now, amount)


def _made(limits: Limits) -> Iterator[_Limit]:
    """Those limits that there are: requests first."""
    if limits.rpm is not None:
        yield _Limit("requests", "min", Schedule(limits.rpm), limits.window, limits.kind)
    if limits.rpd is not None:
        yield _Limit("requests", "day", Schedule(limits.rpd), DAY, limits.kind)
    if limits.tpm is not None:
        yield _Limit("tokens", "min", Schedule(limits.tpm), limits.window, limits.kind)
