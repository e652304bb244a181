"""Requests and tokens per minute that a server's own sliding window never sees exceeded.

The server counts a call at some moment between its sending and its answer, a moment we do not
know. So a call weighs on our window from its sending until one window after the latest moment at
which the server can have counted it: its answer, or `_SLACK` after sending where the answer takes
longer (long generations then cost no throughput; a request that needs more than that to be
counted is outside the promise). Whichever call a server's window sees last, all the others in
that window still weighed here when it was sent: their sum was checked.

The minute alone would let a whole minute's share go out in one burst, which Azure (judging over 1
and 10 seconds) and Anthropic ("ramp up gradually") refuse. So requests also keep their share over 10
and over 1 seconds, tokens twice theirs. A short window may be overdrawn by the last amount, or
prompts that do not divide the share evenly would waste it; the minute never is.

aiolimiter is not used: its leaky bucket refills while it is drawn on, so the first minute may see
twice the limit, and a bucket small enough to prevent that still has no bound for calls that the
network delays; it also serves small amounts first, takes no clock, and cannot be restored.

Everything here is pure: `now` is an argument, in monotonic seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_MINUTE = 60.0
_SHORT = (10.0, 1.0)
_TOKEN_PACE = 2.0
"""What the line loses behind a prompt of a quarter of the limit must be caught up: measured, a pace of 1.0
gives 92% of what the minute alone would, 1.5 95%, 2.0 97%."""
_SLACK = 1.0
_SHORT_SLACK = 0.03
"""Slack of a window as a share of its length, up to `_SLACK`: no short window may cost more than 3%."""
MOST_CONCURRENCY = 512
"""Calls under way at once that `auto` does not pass unless told to."""
_DRIFT = 1e-4
"""How much faster the server's clock may run than ours."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an endpoint, or one model there, allows; None is no limit known."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | Literal["auto"] | None = None
    """Calls under way at once; "auto": found out while the run goes."""
    max_concurrency: int = MOST_CONCURRENCY
    """What "auto" never passes."""
    window: float = 60.0
    """Seconds of the stretch in which the server counts; `rpm` and `tpm` are per minute all the same."""
    count: Literal["asked", "used"] | None = None
    """What the server counts of a call's tokens: prompt and what the answer may take, or what was used.
    None: learned."""

    @property
    def most_in_flight(self) -> int | None:
        """The most calls that may be under way at once; None without a limit."""
        return self.max_concurrency if self.concurrency == "auto" else self.concurrency


@dataclass(slots=True)
class Charge:
    """A call as the windows see it; times in monotonic seconds."""

    sent_at: float
    tokens: int
    answered_at: float = math.inf


class Window:
    """What was sent within the last `seconds`, against `limit`.

    With `exact`, an amount goes when all of it fits; else when anything is left. An amount above
    the limit counts as the whole limit when it asks (it goes alone), so nothing waits for ever.
    """

    __slots__ = ("_charges", "_exact", "_hold", "_slack", "_used", "limit")

    def __init__(self, limit: int, seconds: float, *, exact: bool) -> None:
        self.limit = limit
        self._exact = exact
        self._hold = seconds * (1 + _DRIFT)
        self._slack = min(_SLACK, seconds * _SHORT_SLACK)
        self._charges: deque[tuple[Charge, int]] = deque()
        self._used = 0

    def delay(self, now: float, amount: int) -> float:
        """Seconds until `amount` may go; 0 when it may go now."""
        self._forget(now)
        excess = self._used + min(amount, self.limit if self._exact else 1) - self.limit
        if excess <= 0 or not amount:
            return 0.0
        free_at = now
        for charge, used in self._charges:
            free_at = max(free_at, self._ends(charge))
            excess -= used
            if excess <= 0:
                break
        return free_at - now

    def add(self, charge: Charge, amount: int) -> None:
        self._charges.append((charge, amount))
        self._used += amount

    def charges(self, now: float) -> list[Charge]:
        """What still weighs, oldest first."""
        self._forget(now)
        return [charge for charge, _ in self._charges]

    def _forget(self, now: float) -> None:
        # Charges are in the order of sending. One that ends before an earlier one waits for it:
        # at most the slack too long, and it keeps this O(1).
        while self._charges and self._ends(self._charges[0][0]) <= now:
            self._used -= self._charges.popleft()[1]

    def _ends(self, charge: Charge) -> float:
        return min(charge.answered_at, charge.sent_at + self._slack) + self._hold


class RateLimits:
    """The windows of one endpoint or model: `rpm` requests and `tpm` tokens a minute.

    `delay`, then `charge` when the call is sent, then `settle` when it is answered. Memory holds
    what the last minute sent. A call that never settles counts as answered after the slack.
    """

    __slots__ = ("_requests", "_tokens")

    def __init__(self, *, rpm: int | None = None, tpm: int | None = None) -> None:
        self._requests = _windows(rpm, 1.0)
        self._tokens = _windows(tpm, _TOKEN_PACE)

    def delay(self, now: float, tokens: int, requests: int = 1) -> float:
        """Seconds until a call of `tokens` may be sent; 0 when it may go now."""
        wait = 0.0
        for window in self._requests:
            wait = max(wait, window.delay(now, requests))
        for window in self._tokens:
            wait = max(wait, window.delay(now, tokens))
        return wait

    def charge(self, now: float, tokens: int) -> Charge:
        """Count a call that is being sent, `tokens` being its reservation."""
        charge = Charge(now, tokens)
        for window in self._requests:
            window.add(charge, 1)
        for window in self._tokens:
            window.add(charge, tokens)
        return charge

    def settle(self, charge: Charge, now: float, tokens: int = 0) -> None:
        """The call is answered; it used `tokens` in fact.

        More than was reserved is charged now. Less gives nothing back: some servers count what
        was asked for, others what was used, and this holds for both.
        """
        charge.answered_at = min(charge.answered_at, now)
        if tokens > charge.tokens:
            excess = Charge(now, tokens - charge.tokens, answered_at=now)
            for window in self._tokens:
                window.add(excess, excess.tokens)
            charge.tokens = tokens

    def snapshot(self, now: float, wall: float) -> list[tuple[float, int]]:
        """What still weighs, as (sent at, tokens) in seconds since the epoch, oldest first."""
        minute = (self._requests or self._tokens)[:1]
        return [(wall - (now - c.sent_at), c.tokens) for window in minute for c in window.charges(now)]

    def restore(self, now: float, wall: float, sent: Iterable[tuple[float, int]]) -> None:
        """Charge what an earlier process sent: (sent at, tokens) in seconds since the epoch.

        A time in the future (the clock was set back) counts as now.
        """
        for sent_at, tokens in sent:
            age = max(0.0, wall - sent_at)
            if age < _MINUTE * (1 + _DRIFT) + _SLACK:
                self.charge(now - age, tokens)


def _windows(per_minute: int | None, pace: float) -> list[Window]:
    """The minute, and the shorter windows with `pace` times their share of it."""
    if per_minute is None:
        return []
    short = [Window(math.ceil(per_minute * pace * s / _MINUTE), s, exact=False) for s in _SHORT]
    return [Window(per_minute, _MINUTE, exact=True), *short]
