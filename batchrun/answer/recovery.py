"""Answers that did not arrive, found among the completions that their provider stored (`store: true`).

Such a call was most likely answered and billed: what is found takes the place of the answer, so that
nothing is paid for again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio

from batchrun import codec
from batchrun.answer.task import RowProgress, Task
from batchrun.chat.stamps import REQUEST, ROW, RUN, Stamp, request_digest
from batchrun.client import Resources
from batchrun.clock import Clock
from batchrun.http_date import http_date
from batchrun.outcome import Error, Exchange, Response
from batchrun.policy.judge import CallOutcome, judge
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.records import Answered, Sent
from batchrun.spending.paid import may_be_stored
from batchrun.summary import Counters
from batchrun.value import value

PATH = "/chat/completions"

WAITS = 0.0, 1.0, 3.0
"""Seconds before each look for the answer to a call that has just ended: a listing may be behind."""

PATIENCE = 10.0
"""Seconds that all looks for one answer may take."""

SLACK, UNKNOWN_SLACK = 10.0, 60.0
"""Seconds by which a completion may seem older than the row's first call: where the answer says what time it
is there, and where it does not. An older one is of another asking, which may have failed with it."""

_AT_MOST = 20
"""Completions that a listing is asked for: every call of one ask has the same stamp."""

_NO_LISTING = frozenset({404, 405, 501})


@value(frozen=True, slots=True)
class Wanted:
    """Which stored completions will do."""

    stamp: Stamp
    since: float
    """When the first call of the row was sent, in seconds since the epoch."""
    used: Collection[str] = ()
    """The ids of those that other calls of the row received."""

    def query(self) -> dict[str, str | int]:
        """What the listing is asked for."""
        pairs = self.stamp.pairs()
        named = {f"metadata[{key}]": pairs[key] for key in (RUN, REQUEST)}
        return {**named, "order": "desc", "limit": _AT_MOST}

    def newest(self, response: Response, now: float) -> dict[str, Any] | None:
        """The newest of a listing that will do. Raises ValueError where it is no listing.

        `now` is our time, in seconds since the epoch. The stamp is looked at again: a server may not know
        the query.
        """
        listed = _listed(response.body)
        theirs = _date(response.headers)
        earliest = self.since - UNKNOWN_SLACK if theirs is None else self.since + theirs - now - SLACK
        fitting = [found for found in listed if self._will_do(found, earliest)]
        return max(fitting, key=_created, default=None)

    def _will_do(self, found: Any, earliest: float) -> bool:
        if not isinstance(found, dict) or not isinstance(metadata := found.get("metadata"), Mapping):
            return False
        name, pairs = found.get("id"), self.stamp.pairs()
        return (
            isinstance(name, str)
            and name not in self.used
            and all(metadata.get(key) == pairs[key] for key in (RUN, ROW, REQUEST))
            and _created(found, earliest) >= earliest
            and judge(_response(found, 0.0)).completion is not None
        )


def _listed(body: bytes) -> list[Any]:
    with suppress(ValueError):
        document = codec.loads(body)
        if isinstance(document, dict) and isinstance(document.get("data"), list):
            listed: list[Any] = document["data"]
            return listed
    raise ValueError("its answer is no list")


def _created(found: Mapping[str, Any], otherwise: float = 0.0) -> float:
    created = found.get("created")
    return created if isinstance(created, int | float) else otherwise


def _date(headers: Mapping[str, str]) -> float | None:
    return http_date(headers.get("date", ""))


def _response(found: Mapping[str, Any], latency: float) -> Response:
    return Response(200, {}, codec.dumps(found), latency)


class Recovery:
    """Looks for answers. `resources` by endpoint; `say` is told once of each that lists nothing, `log` takes
    events."""

    def __init__(
        self,
        job: str,
        run: str,
        resources: Mapping[str, Resources],
        counters: Counters,
        clock: Clock,
        say: Callable[[str], None],
        log: Callable[..., None],
    ) -> None:
        self._job = job
        self._run = run
        self._resources = resources
        self._counters = counters
        self._clock = clock
        self._say = say
        self._log = log
        self._lists: set[str] = set()
        """Endpoints that have answered with a list."""
        self._without: set[str] = set()
        """Endpoints that have none."""
        self._first = {endpoint: anyio.Lock() for endpoint in resources}

    def stamp(self, row_id: str, request_hash: str, step_digest: str, model: str) -> Stamp:
        """What goes along with a call, by the members of its record (`Sent`)."""
        return Stamp(self._job, self._run, row_id, request_digest(request_hash, step_digest, model))

    async def in_place_of(
        self, exchange: Exchange, task: Task, sent: Sent, progress: RowProgress
    ) -> Exchange:
        """What came of a call, or the stored answer where that did not arrive.

        It takes no longer than PATIENCE and the row's time.
        """
        if not may_be_stored(judge(exchange)) or not _is_stored(task, sent.model_index):
            return exchange
        began = self._clock.monotonic()
        found = await self._find(task, sent, progress, WAITS)
        if found is None:
            return exchange
        return replace(found, latency=exchange.latency + self._clock.monotonic() - began)

    async def find_stored_answers(
        self, task: Task, models: Sequence[str], progress: RowProgress, keep: Callable[[Answered], None]
    ) -> None:
        """Look once for each answer that a killed submit left open, and have it kept with the row's others.

        `models` are those of the job as they are spelled.
        """
        for sent in _open_calls(task.history, task.request_hash):
            index = models.index(sent.model) if sent.model in models else None
            if index is None or not _is_stored(task, index):
                continue
            if found := await self._find(task, sent, progress, WAITS[:1]):
                answered = Answered(task.number, sent.call, self._clock.wall(), found)
                keep(answered)
                task.history.add(answered, encode(answered))
                note_received(progress, judge(found))

    async def _find(
        self, task: Task, sent: Sent, progress: RowProgress, waits: Sequence[float]
    ) -> Response | None:
        """The stored answer to a call; None where none is found in time."""
        stamp = self.stamp(task.row_id, sent.request_hash, sent.step_digest, sent.model)
        wanted = Wanted(stamp, min(progress.first_sent, sent.at), progress.received)
        found: dict[str, Any] | None = None
        with anyio.move_on_after(min(PATIENCE, progress.deadline - self._clock.monotonic())):
            for wait in waits:
                if found is not None or sent.endpoint not in self._resources.keys() - self._without:
                    break
                if wait:
                    await self._clock.sleep(wait)
                found = await self._look(sent.endpoint, wanted)
        if found is None:
            return None
        self._counters.recovered += 1
        self._log(
            "recovered", row=task.row_id, call=sent.call, endpoint=sent.endpoint, completion=found["id"]
        )
        return _response(found, 0.0)

    async def _look(self, endpoint: str, wanted: Wanted) -> dict[str, Any] | None:
        """One look. Until an endpoint has listed anything there is one at a time: it may have no list."""
        if endpoint not in self._lists:
            async with self._first[endpoint]:
                if endpoint in self._without:
                    return None
                if endpoint not in self._lists:
                    return await self._listed(endpoint, wanted)
        return await self._listed(endpoint, wanted)

    async def _listed(self, endpoint: str, wanted: Wanted) -> dict[str, Any] | None:
        # a look that nobody waits for any more would keep its connection until then
        exchange = await self._resources[endpoint].get(PATH, wanted.query(), total=PATIENCE)
        if not isinstance(exchange, Response):
            self._log("not_looked_up", endpoint=endpoint, reason=exchange.message)
            return None
        if 200 <= exchange.status < 300:
            try:
                found = wanted.newest(exchange, self._clock.wall())
            except ValueError as error:
                self._has_none(endpoint, str(error))
                return None
            self._lists.add(endpoint)
            return found
        if exchange.status in _NO_LISTING:
            self._has_none(endpoint, f"HTTP {exchange.status}")
        else:
            self._log("not_looked_up", endpoint=endpoint, reason=f"HTTP {exchange.status}")
        return None

    def _has_none(self, endpoint: str, reason: str) -> None:
        if endpoint in self._without:
            return
        self._without.add(endpoint)
        self._log("no_stored_completions", endpoint=endpoint, reason=reason)
        self._say(
            f"{endpoint} does not list stored completions ({reason}): calls whose answers do not arrive are "
            "made again, although `store` is on"
        )


def note_received(progress: RowProgress, judged: CallOutcome) -> None:
    """Remember the completion that a call of the row received: no other call's is to be it."""
    if judged.completion is not None and judged.completion.id is not None:
        progress.received.add(judged.completion.id)


def _open_calls(history: History, request_hash: str) -> list[Sent]:
    """The calls of a row's request of which nothing is known but that they were sent."""
    again = history.continues.again if history.continues else ()
    return [
        sent
        for call, sent in sorted(history.sent.items())
        if call not in history.answered and call not in again and sent.request_hash == request_hash
    ]


def _is_stored(task: Task, model_index: int) -> bool:
    """Whether the task's request to a model of the job asks for its answer to be kept."""
    request = task.request
    return not isinstance(request, Error) and request.is_stored(model_index)
