"""What stands in a worker for admission and the journal: both are the driver's, and asked for each call."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import anyio

from batchrun.admission import Permit, Unavailable
from batchrun.admission.gate import CallFeedback
from batchrun.admission.states import Reason
from batchrun.budget import Amounts, Budget
from batchrun.clock import Clock
from batchrun.cluster.messages import (
    Allowance,
    CallFinished,
    Carried,
    Forgone,
    Freed,
    Granted,
    Paused,
    PermitRequest,
    Recorded,
    RecordKind,
    Shut,
)
from batchrun.cluster.post import Post
from batchrun.errors import BudgetExhaustedError, StorageError
from batchrun.limits import Size
from batchrun.outcome import Error, Failed, NoResponse
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.records import Answered, Continues, Done, Ran, Record, Sent

_NO_REASON: frozenset[str] = frozenset()

_LEASE: ContextVar[int] = ContextVar("lease")
"""The permit that the row at work was given last: by it a call's record says whose it is."""

_NOT_SENT = NoResponse("connection", "the run stopped before the call was made", sent=False, latency=0.0)

_KINDS: dict[type, RecordKind] = {
    Sent: "sent",
    Answered: "answer",
    Ran: "ran",
    Continues: "continues",
    Done: "done",
}


class LeasedAdmission:
    """`Admission` as far as a worker's rows see it: each permit is the driver's to give.

    `allowance` is how things stood when the driver said so last.
    """

    def __init__(self, post: Post, clock: Clock) -> None:
        self.budget: Budget | None = None
        self.allowance = Allowance(1, frozenset(), frozenset(), is_paused=False)
        self.let_go = anyio.Event()
        """Set unless the run is paused."""
        self.let_go.set()
        self._post = post
        self._clock = clock
        self._calls = count()
        self._asked: dict[int, tuple[anyio.Event, list[Granted]]] = {}

    async def admit(
        self,
        endpoint: str,
        model: str,
        size: Size,
        bound: Amounts,
        *,
        leave_for: frozenset[str] = _NO_REASON,
    ) -> Permit | Unavailable:
        """See `Admission.admit`."""
        number, granted = next(self._calls), anyio.Event()
        answers: list[Granted] = []
        self._asked[number] = granted, answers
        self._post.put(PermitRequest(number, endpoint, model, size, bound, leave_for))
        try:
            await granted.wait()
        except BaseException:
            self._post.put(Forgone(number))
            raise
        finally:
            del self._asked[number]
        (answer,) = answers
        if answer.exhausted is not None:
            raise BudgetExhaustedError(answer.exhausted)
        if answer.closed is not None:
            return answer.closed
        _LEASE.set(number)
        return Permit([_Slot(number, self._post)], partial(self._finished, number))

    def granted(self, answer: Granted) -> None:
        """The driver's answer to a call that asked; one that has given up waiting has said so."""
        if asked := self._asked.get(answer.call):
            asked[1].append(answer)
            asked[0].set()

    def at_once(self, *_asked: Any, **_leave_for: Any) -> None:
        """Nothing is decided here."""

    async def until_resumed(self) -> None:
        """See `Admission.until_resumed`."""
        await self.let_go.wait()

    def is_available(self, endpoint: str, model: str) -> bool:
        """Whether it was, by the last word."""
        return (endpoint, model) in self.allowance.open

    def correct_past_call(self, at: float, counted: Amounts, actual: Amounts) -> None:
        """Nothing: the driver's books keep the call at its bound until the next submit reads the records."""

    def circuit_is_open(self, endpoint: str) -> bool:
        """See `Admission.circuit_is_open`."""
        return endpoint in self.allowance.tripped

    def pause(self, endpoint: str, until: float, reason: Reason = "retry-after") -> None:
        """See `Admission.pause`; it holds for all workers."""
        self._post.put(Paused(endpoint, until - self._clock.monotonic(), reason))

    def close(
        self, endpoint: str, reason: Error, *, model: str | None = None, seconds: float | None = None
    ) -> None:
        """See `Admission.close`; it holds for all workers."""
        self._post.put(Shut(endpoint, model, reason, seconds))

    def slots(self) -> int:
        """Calls of this worker that may be under way at once, about: the driver counts them all."""
        return self.allowance.slots

    def reasons(self) -> list[Unavailable]:
        """The driver says why a run stops."""
        return []

    def snapshot(self) -> dict[str, Any]:
        """The driver keeps the books."""
        return {}

    def _finished(self, number: int, feedback: CallFeedback, paid: Amounts | None) -> None:
        self._post.put(CallFinished(number, feedback, paid))


class _Slot:
    def __init__(self, number: int, post: Post) -> None:
        self._number = number
        self._post = post

    def release(self) -> None:
        self._post.put(Freed(self._number))


class ForwardedJournal:
    """The driver's journal, as far as a worker's rows see it."""

    def __init__(self, post: Post) -> None:
        self.failure: StorageError | None = None
        self.finished = self.size = 0
        self._post = post

    def append(self, record: Record) -> None:
        """Send one record of a task."""
        assert isinstance(record, Sent | Answered | Ran | Continues | Done), "others are the driver's"
        failed = None
        if isinstance(record, Done) and isinstance(record.outcome, Failed):
            failed = record.outcome.error.type
        lease = _LEASE.get() if isinstance(record, Sent) else None
        self._post.put(Recorded(record.task, _KINDS[type(record)], encode(record), failed, lease))

    async def begin(self, sent: Sent) -> None:
        """Send the record of a call, and return once the driver has written it; where the run stops before,
        the call is not made, and another record says so: it is not possibly paid."""
        self.append(sent)
        try:
            await self._post.acknowledged()
        except BaseException:
            self.append(Answered(sent.task, sent.call, sent.at, _NOT_SENT))
            raise

    def carry(self, task: int, lines: list[bytes]) -> None:
        """Send records from which a task goes on."""
        self._post.put(Carried(task, tuple(lines)))

    async def ready(self) -> None:
        """The driver gives no permit while its disk is behind."""

    async def commit_forever(self) -> None:
        """The driver does it."""
        await anyio.sleep_forever()

    async def rotate(self, opening: Callable[[], Record]) -> Path:
        """The driver does it, and nothing here asks for it."""
        raise NotImplementedError
