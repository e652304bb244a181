"""The driver's side: ranges handed out, permits granted, records journalled, lost workers made up for."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

import batchrun.errors
from batchrun.admission import Admission
from batchrun.clock import PausableClock
from batchrun.cluster.link import Link, WorkerBrokenError, WorkerLostError
from batchrun.cluster.member import GrantedCall, Member, released
from batchrun.cluster.messages import (
    CallFinished,
    Carried,
    Counted,
    Ended,
    Forgone,
    Freed,
    FromWorker,
    LeftRow,
    Logged,
    NoMoreShards,
    Paused,
    PermitRequest,
    Recorded,
    Said,
    Shut,
    StopNow,
)
from batchrun.cluster.permits import Permits
from batchrun.cluster.shards import Given, Shards
from batchrun.engines.control import Control
from batchrun.errors import BatchrunError, StorageError, cause
from batchrun.run_folder.journal.journal import Journal
from batchrun.summary import Stop
from batchrun.wording import counted

LOOK = 0.2
"""Seconds between two looks how things stand, of which the workers are told."""

GRACE = 10.0
"""Seconds beyond the drain in which workers may still tell what their last calls came to."""

MOST_LOSSES = 3
"""Workers that may be lost, for each one wanted, without a row finished in between."""

_AHEAD = 2
"""Ranges that a worker has at once."""


class Crew:
    """The workers of one run. `hire` gives another one, and waits until there is one."""

    def __init__(
        self,
        control: Control,
        admission: Admission,
        journal: Journal,
        shards: Shards,
        permits: Permits,
        *,
        workers: int,
        hire: Callable[[], Awaitable[Link]],
        clock: PausableClock,
        say: Callable[[str], None],
        log: Callable[..., None],
    ) -> None:
        self._control = control
        self._admission = admission
        self._journal = journal
        self._shards = shards
        self._permits = permits
        self._workers = workers
        self._hire = hire
        self._clock = clock
        self._say = say
        self._log = log
        self._members: list[Member] = []
        self._said: set[str] = set()
        self._losses = 0
        self._is_over = False
        self._failure: BatchrunError | None = None

    async def work(self) -> None:
        """Have all rows brought to their outcomes, or end what is under way once the run is stopped.

        Raises what ended a worker, and StorageError.
        """
        with anyio.CancelScope(shield=True) as scope:  # a stop ends it, once calls under way have landed
            async with anyio.create_task_group() as group:
                for _ in range(self._workers):
                    group.start_soon(self._employ)
                await self._watch(scope)
                group.cancel_scope.cancel()
        if self._failure:
            raise self._failure

    async def _watch(self, scope: anyio.CancelScope) -> None:
        """Tell the workers how things stand, until they have nothing left to do."""
        while True:
            if self._is_stopping:
                deadline = self._control.in_flight_calls.deadline
                scope.deadline = min(scope.deadline, deadline + GRACE)
                self._stop_all(deadline)
            elif not self._is_over:
                self._tell_all()
                self._fill_all()
                scope.deadline = anyio.current_time() + GRACE if self._is_over else math.inf
            if (self._is_stopping or self._is_over) and all(member.has_ended for member in self._members):
                return
            await anyio.sleep(LOOK)

    @property
    def _is_stopping(self) -> bool:
        return self._control.in_flight_calls.is_draining

    async def _employ(self) -> None:
        """Have one worker at a time, as long as there is work."""
        while not self._is_over and not self._is_stopping:
            try:
                link = await self._hire()
            except BatchrunError as error:
                self._fail(error)
                return
            if self._is_over or self._is_stopping:  # meanwhile: nobody would tell it to end
                link.give_up()
                return
            member = Member(link)
            self._members.append(member)
            self._log("worker_joined", node=link.name)
            self._tell_all()
            try:
                async with anyio.create_task_group() as group:
                    with released(member):
                        self._fill(member)
                        group.start_soon(self._deliver, member)
                        await self._attend(member, group)
                    group.cancel_scope.cancel()
            except* WorkerLostError as lost:
                self._lose(member, cause(lost))
            else:
                return
            if self._losses > MOST_LOSSES * self._workers:
                reason = f"{counted(self._losses, 'worker')} were lost one after the other"
                self._control.stop(Stop("workers", reason))
                return

    async def _attend(self, member: Member, group: TaskGroup) -> None:
        """Work on what a worker tells, until it has ended."""
        while not member.has_ended:
            delivery = await member.link.collect(member.received)
            for message in delivery.messages:
                self._hear(member, message, group)
            member.received = delivery.number
            self._fill(member)

    async def _deliver(self, member: Member) -> None:
        while True:
            await member.wake.wait()
            messages, member.waiting, member.wake = member.waiting, [], anyio.Event()
            await member.link.deliver(messages)

    def _hear(self, member: Member, message: FromWorker, group: TaskGroup) -> None:
        match message:
            case Recorded():
                self._record(member, message)
            case PermitRequest():
                lease = member.leases[message.call] = GrantedCall()
                group.start_soon(self._permits.serve, member, message, lease)
            case CallFinished():
                if known := member.leases.get(message.call):
                    known.finish(message.feedback, message.paid)
            case Freed() | Forgone():
                if known := member.leases.get(message.call):
                    known.end()
            case Carried():
                self._journal.carry(message.task, list(message.lines))
            case LeftRow():
                self._left(member, message)
            case Ended():
                self._ended(member, message)
            case _:
                self._hear_of_all(message)

    def _hear_of_all(self, message: FromWorker) -> None:
        """What concerns the whole run."""
        match message:
            case Paused():
                until = self._clock.monotonic() + message.seconds
                self._admission.pause(message.endpoint, until, message.reason)
            case Shut():
                self._admission.close(
                    message.endpoint, message.reason, model=message.model, seconds=message.seconds
                )
                self._tell_all()
            case Counted():
                counters = self._control.counters
                for name, number in message.counts.items():
                    setattr(counters, name, (getattr(counters, name) or 0) + number)
            case Said() if message.text not in self._said:  # each worker finds the same
                self._said.add(message.text)
                self._say(message.text)
            case Logged():
                self._log(message.event, **message.fields)

    def _record(self, member: Member, message: Recorded) -> None:
        if message.task not in member.homes:
            return  # of a row that has its outcome
        is_last = message.kind == "done"
        try:
            self._journal.take(message.task, message.line, is_last=is_last)
        except StorageError:
            self._control.in_flight_calls.drain_until(anyio.current_time())  # no answer could be kept
            raise
        if message.call is not None and (lease := member.leases.get(message.call)):
            lease.is_sent = True
        if is_last:
            self._losses = 0
            member.finish(message.task)
            self._control.count(message.failed)

    def _left(self, member: Member, message: LeftRow) -> None:
        member.finish(message.task)
        self._control.leave(message.task, message.models, message.closed)

    def _ended(self, member: Member, message: Ended) -> None:
        member.has_ended = True
        if message.error is not None:
            name, text, hint = message.error
            kind = getattr(batchrun.errors, name, BatchrunError)
            self._fail(kind(f"on {member.link.name}: {text}", hint=hint))
        if message.stop is not None:
            self._control.stop(message.stop)

    def _fail(self, error: BatchrunError) -> None:
        """The run ends with it, once calls under way have landed."""
        self._failure = self._failure or error
        self._control.in_flight_calls.drain_until(anyio.current_time() + self._control.drain)

    def _lose(self, member: Member, lost: BaseException) -> None:
        """Another worker does what this one had; calls that it had sent may have been paid for."""
        self._members.remove(member)
        member.link.give_up()
        self._losses += 1
        sent, why = member.in_flight, str(lost)
        rows = sum(len(given.left) for given in member.given.values())
        self._say(
            f"the worker on {member.link.name} was lost with {counted(sent, 'call')} under way; "
            f"{counted(rows, 'row')} of it go to others ({why})"
        )
        self._log("worker_lost", node=member.link.name, calls=sent, rows=rows, reason=why)
        for given in member.given.values():
            self._shards.take_back(given, self._journal)
        if isinstance(lost, WorkerBrokenError):
            self._fail(BatchrunError(f"on {member.link.name}: {why}", hint=lost.hint))

    def _fill_all(self) -> None:
        for member in self._members:
            self._fill(member)
        if not any(member.given for member in self._members) and not self._shards.has_more:
            self._is_over = True
            for member in self._members:
                member.tell(NoMoreShards())

    def _fill(self, member: Member) -> None:
        """Give a worker its next ranges."""
        while not self._is_stopping and len(member.given) < _AHEAD and (given := self._next()) is not None:
            member.given[given.shard.number] = given
            member.homes |= dict.fromkeys(given.left, given.shard.number)
            member.tell(given.shard)

    def _next(self) -> Given | None:
        """The next range that may go: not beyond the canary before that is judged."""
        most = None
        if self._control.canary is not None and not self._control.canary_judged.is_set():
            most = max(0, self._control.canary - self._shards.cut)
        shard = self._shards.next(most)
        return None if shard is None else Given(shard)

    def _stop_all(self, deadline: float) -> None:
        left = max(0.0, deadline - anyio.current_time())
        for member in self._members:
            if deadline < member.told_to_stop:
                member.told_to_stop = deadline
                member.tell(StopNow(left))

    def _tell_all(self) -> None:
        """How things stand, where that has changed since the last time."""
        now = self._permits.allowance(len(self._members))
        for member in self._members:
            member.stand(now)
