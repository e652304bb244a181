"""The circuit breaker of one endpoint: when nobody asks it for a while, and who asks first afterwards. Pure.

    closed      calls go; failures that are the endpoint's own are counted
    open        nobody asks: 5 s at first, twice as long each time, 60 s at most
    half-open   one call at a time goes as a probe; the first that succeeds closes the circuit

It opens when an endpoint that has answered before is out of reach 5 times in a row, or when it fails
again and again: of the last 10 calls, and of those of the last second where these are more, 80% failed,
the last 5 all did, and they were of 5 rows. A row that a server always answers with a 500, as some do to
the client's own mistakes, is thus no failing endpoint; nor is one replica of several that drops its calls.
Where 5% of all calls fail at random this happens once in 3 billion calls: 5 in a row have a chance of
0.05^5, and 3 or more of the 5 before them one of 0.0012. At 500 calls a second the second holds 500
calls, and 400 of them do not fail.

An endpoint that nothing has ever reached is probably misspelled or not up yet. It opens at the first
failure and is asked again after the job's own backoff, so that a wrong address is soon told.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal, TypeAlias

from batchrun.outcome import NoResponse
from batchrun.policy.decision import RetryRules, backoff
from batchrun.policy.judge import CallOutcome

State: TypeAlias = Literal["closed", "open", "half-open"]
Report: TypeAlias = Literal["ok", "failed", "unreached"]
"""What a call says of its endpoint: it works, it failed by itself, or nothing of the call arrived there."""

_IN_A_ROW = 5
_RECENT_CALLS = 10
_RECENT_SECONDS = 1.0
_SHARE = 0.8
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 60.0
_OWN_FAILURES = frozenset({408, 498})
"""Statuses below 500 that say that a server could not serve: a timeout of its own, Groq's capacity."""


def report(judged: CallOutcome) -> Report | None:
    """What a call says of its endpoint; None where it says nothing.

    A 4xx is the row's, and it and a 429 show that the endpoint is there. Nothing says a 200 without an
    answer or with an error of no code, a conflict (409, 424, 425), and a call that had no time left.
    """
    error, exchange = judged.error, judged.exchange
    if error is None:
        return "ok"
    if isinstance(exchange, NoResponse):
        if exchange.sent:
            return "failed"
        no_time_left = exchange.type == "timeout" and exchange.latency <= 0
        return None if no_time_left else "unreached"
    if error.type == "invalid_response":
        return None
    if error.type != "server":
        return "ok"
    status = error.http_status or exchange.status
    return "failed" if status >= 500 or status in _OWN_FAILURES else None


class Circuit:
    """Whether one endpoint may be asked. Times are monotonic seconds.

    `began` when a call goes, `ended` when it is over, however that comes about. `retry.max_attempts`
    probes in a row that fail exhaust the circuit: the endpoint is then to be closed for this run.
    """

    __slots__ = (
        "_failed_probes",
        "_openings",
        "_probing",
        "_reached",
        "_retry",
        "_since",
        "_tally",
        "_until",
    )

    def __init__(self, retry: RetryRules) -> None:
        self._retry = retry
        self._reached = False
        self._tally = _Tally()
        self._since = -math.inf
        """A call that began before this moment says nothing any more."""
        self._until: float | None = None
        """When the circuit is half-open; None while it is closed."""
        self._openings = self._failed_probes = 0
        self._probing = False

    def state(self, now: float) -> State:
        if self._until is None:
            return "closed"
        return "open" if now < self._until else "half-open"

    def delay(self, now: float) -> float:
        """Seconds until a call may go; 0 when it may go now; infinite while a probe is under way."""
        if self._until is None:
            return 0.0
        return math.inf if self._probing else max(0.0, self._until - now)

    @property
    def exhausted(self) -> bool:
        """Whether as many probes in a row have failed as a row has attempts."""
        return self._failed_probes >= self._retry.max_attempts

    def began(self) -> None:
        """A call goes, after a `delay` of 0: in the half-open circuit it is the probe."""
        self._probing = self._until is not None

    def ended(self, now: float, began_at: float, report: Report | None, *, row: int, jitter: float) -> None:
        """A call is over, of `row`; no `report`: it was given up, or says nothing of the endpoint.

        `jitter` in [0, 1) draws the pause, if the circuit opens: within 20% of its length, or, where
        nothing was ever reached, anywhere below it. Calls that were under way when it opened say nothing.
        """
        if self._until is not None:
            if self._probing and began_at >= self._until:
                self._probed(now, report, jitter)
        elif report is not None and began_at >= self._since:
            self._reached = self._reached or report != "unreached"
            self._tally.add(now, report, row)
            if self._tally.fails(self._reached):
                self._failed_probes = 0 if self._reached else 1  # an address is probed from its first call on
                self._open(now, jitter)

    def _probed(self, now: float, report: Report | None, jitter: float) -> None:
        self._probing = False
        if report is None:
            return
        first_sign = not self._reached and report != "unreached"  # whatever it says: it is up
        self._reached = self._reached or first_sign
        if report == "ok" or first_sign:
            self._until, self._since = None, now
            self._openings = self._failed_probes = 0
            self._tally = _Tally()
        else:
            self._failed_probes += 1
            self._open(now, jitter)

    def _open(self, now: float, jitter: float) -> None:
        self._openings += 1
        if self._reached:
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._openings - 1, 64))
            seconds = pause * (0.8 + 0.4 * jitter)
        else:
            seconds = jitter * backoff(self._openings, self._retry)
        self._until = now + seconds


class _Tally:
    """The calls that ended last, while the circuit is closed."""

    __slots__ = ("_failed", "_recent", "_rows", "_streak", "_unreached")

    def __init__(self) -> None:
        self._recent: deque[tuple[float, bool]] = deque()
        """When a call ended, and whether it failed: 10, or all of the last second."""
        self._failed = 0
        self._streak = self._unreached = 0
        self._rows: set[int] = set()
        """Rows that failed since the last success, as many as matter."""

    def add(self, now: float, report: Report, row: int) -> None:
        failed = report != "ok"
        self._recent.append((now, failed))
        self._failed += failed
        while len(self._recent) > _RECENT_CALLS and self._recent[0][0] < now - _RECENT_SECONDS:
            self._failed -= self._recent.popleft()[1]
        self._unreached = self._unreached + 1 if report == "unreached" else 0
        self._streak = self._streak + 1 if failed else 0
        if not failed:
            self._rows.clear()
        elif len(self._rows) < _IN_A_ROW:
            self._rows.add(row)

    def fails(self, reached: bool) -> bool:
        """Whether the endpoint failed again and again, to the last call; `reached`: it ever was."""
        if self._unreached >= (_IN_A_ROW if reached else 1):
            return True
        return (
            self._streak >= _IN_A_ROW
            and len(self._rows) >= _IN_A_ROW
            and len(self._recent) >= _RECENT_CALLS
            and self._failed >= _SHARE * len(self._recent)
        )
