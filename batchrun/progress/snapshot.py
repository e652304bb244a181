"""How a running submit stands, in figures: what displays, `status` and machines are told."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, Literal

import anyio

from batchrun.admission import Unavailable
from batchrun.admission.states import Reason, Wait
from batchrun.outcome import Error
from batchrun.progress.display import View
from batchrun.progress.time_left import Moment, TimeLeft
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.live import write_live

_WORTH_TELLING = 1.0
"""Seconds from which a wait is told: shorter ones are the pace of the job's limits."""
_MINUTE = 60.0
_PACE: tuple[Reason, ...] = ("limits", "rate limit")
"""Waits that come again and again: they are a part of the pace."""


@dataclass(frozen=True, slots=True)
class Waited:
    """A batch that is waited for, as its provider told last; `seconds` since it was created."""

    batch_id: str
    status: str
    rows: int
    done: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of a running submit.

    Attributes:
        to_do: rows that this submit asks for; `ok` and `failed` of them have their outcome.
        errors: failed rows by error type.
        tokens: prompt and completion tokens of this submit, as the servers count them.
        tokens_per_minute, requests_per_minute: over the last minute; their limits are those of the first
            model, the job's own or those that its server states, None where none is known.
        cost_usd: what this submit took as far as it is known; `gone_usd` what is spent or held of `cap_usd`.
        waits: what calls wait for beside a free place, and how long still.
        closed: endpoints and models that take no call, and why.
        near_budget: calls wait for others to leave them a part of the budget.
        landing: the run is stopping; calls under way may land.
        paused: nothing is sent until somebody says `resume`.
        seconds_left: until the last row is done (`TimeLeft`), announced waits included; None where nothing
            says how long, as while batches are waited for.
        batches: those; None where rows do not go by batches.
    """

    to_do: int
    ok: int
    failed: int
    errors: dict[str, int]
    in_flight: int
    calls: int
    rows_per_second: float
    tokens: int
    tokens_per_minute: float
    token_limit: float | None
    requests_per_minute: float
    request_limit: float | None
    cost_usd: float | None
    gone_usd: float | None
    cap_usd: float | None
    waits: tuple[Wait, ...]
    closed: tuple[Unavailable, ...]
    near_budget: bool
    landing: bool
    paused: bool
    seconds_left: float | None
    batches: tuple[Waited, ...] | None = None

    @property
    def finished(self) -> int:
        """Rows with an outcome."""
        return self.ok + self.failed

    def document(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Snapshot:
        """It again. Raises TypeError and LookupError for what is none, as another version may write."""
        waits = tuple(Wait(**wait) for wait in document["waits"])
        closed = tuple(Unavailable(**{**one, "reason": Error(**one["reason"])}) for one in document["closed"])
        batches = document["batches"]
        waited = None if batches is None else tuple(Waited(**batch) for batch in batches)
        return cls(**{**document, "waits": waits, "closed": closed, "batches": waited})


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    rows: int
    tokens: int
    calls: int


class Watcher:
    """Looks at a running engine now and then: what it did within the last `span` seconds is its pace."""

    def __init__(self, view: View, span: float = 20.0) -> None:
        self._view = view
        self._span = span
        self._seen: deque[_Seen] = deque()
        self._time_left = TimeLeft()

    def snapshot(self, now: float | None = None) -> Snapshot:
        """How it stands `now` (monotonic seconds)."""
        view, counters = self._view, self._view.counters
        tokens = counters.tokens
        at = time.monotonic() if now is None else now
        self._seen.append(_Seen(at, counters.finished, tokens, counters.calls))
        while len(self._seen) > 2 and self._seen[1].at <= at - max(self._span, _MINUTE):
            self._seen.popleft()
        rate = self._pace(at - self._span, "rows")
        waits = tuple(wait for wait in view.admission.waiting() if wait.seconds >= _WORTH_TELLING)
        gone, cap = self._budget()
        batches = self._batches()
        return Snapshot(
            to_do=counters.to_do,
            ok=counters.ok,
            failed=counters.failed,
            errors=dict(counters.errors.most_common()),
            in_flight=len(view.in_flight_calls),
            calls=counters.calls,
            rows_per_second=rate,
            tokens=tokens,
            tokens_per_minute=self._pace(at - _MINUTE, "tokens") * _MINUTE,
            token_limit=view.admission.route(*view.first).per_minute("tokens"),
            requests_per_minute=self._pace(at - _MINUTE, "calls") * _MINUTE,
            request_limit=view.admission.route(*view.first).per_minute("requests"),
            cost_usd=counters.cost_usd,
            gone_usd=gone,
            cap_usd=cap,
            waits=waits,
            closed=tuple(view.admission.reasons()),
            near_budget=bool(view.admission.short),
            landing=view.in_flight_calls.is_draining,
            paused=view.clock.is_paused,
            seconds_left=self._seconds_left(at, waits, batches),
            batches=batches,
        )

    def _batches(self) -> tuple[Waited, ...] | None:
        if self._view.batches is None:
            return None
        now = self._view.clock.wall()
        return tuple(
            Waited(one.batch_id, one.status, one.rows, one.done, max(0.0, now - one.since))
            for one in self._view.batches()
        )

    def _seconds_left(
        self, at: float, waits: tuple[Wait, ...], batches: tuple[Waited, ...] | None
    ) -> float | None:
        """None while batches are waited for: their rows come all at once, and say nothing of a pace."""
        if batches:
            self._time_left = TimeLeft()
            return None
        return self._time_left.estimate(self._moment(at, waits))

    def _moment(self, at: float, waits: tuple[Wait, ...]) -> Moment:
        view, counters = self._view, self._view.counters
        in_flight = len(view.in_flight_calls)
        return Moment(
            at,
            counters.to_do,
            counters.finished,
            in_flight,
            is_paused=view.clock.is_paused,
            longest=view.latencies.quantile(1 - 1 / (in_flight + 1)),
            youngest=min((at - flight.started for flight in view.in_flight_calls), default=0.0),
            wait=max((wait.seconds for wait in waits if wait.reason in _PACE), default=0.0),
            away=max((wait.seconds for wait in waits if wait.reason not in _PACE), default=0.0),
            least=max(
                self._least("requests", counters.calls, counters.finished + in_flight),
                self._least("tokens", counters.tokens, counters.finished),
            ),
        )

    def _least(self, unit: Literal["requests", "tokens"], taken: int, rows: int) -> float:
        """Seconds for a row that takes as much as these have, by the limits of the first model."""
        limit = self._view.admission.route(*self._view.first).per_minute(unit)
        return taken / rows / limit * _MINUTE if limit and rows else 0.0

    def _pace(self, since: float, what: str) -> float:
        """What was done a second since then; 0 before two moments are known."""
        last = self._seen[-1]
        first = next((seen for seen in reversed(self._seen) if seen.at <= since), self._seen[0])
        passed = last.at - first.at
        return (getattr(last, what) - getattr(first, what)) / passed if passed > 0 else 0.0

    def _budget(self) -> tuple[float | None, float | None]:
        """What is spent or held, and its cap; where no price is known, nothing is known to be spent."""
        budget = self._view.admission.budget
        if budget is None or budget.caps.cost_usd is None:
            return None, None
        gone = (budget.spent.cost_usd or 0.0) + (budget.held.cost_usd or 0.0)
        if self._view.batches is not None:  # which hold their part for hours
            gone += budget.reserved.cost_usd or 0.0
        unknown = budget.spent.requests and not gone and self._view.counters.cost_usd is None
        return None if unknown else gone, budget.caps.cost_usd


async def tell_others(view: View, run: RunFolder) -> None:
    """Say in the run folder how a running engine stands, every second until cancelled."""
    watcher = Watcher(view)
    while True:
        write_live(run, watcher.snapshot().document())
        await anyio.sleep(1)
