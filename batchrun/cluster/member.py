"""A worker as the driver knows it: what it has, what it was granted, what it is to be told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from batchrun.admission import Permit
from batchrun.admission.gate import CallFeedback
from batchrun.budget import Amounts
from batchrun.cluster.link import Link
from batchrun.cluster.messages import Allowance, FromDriver
from batchrun.cluster.shards import Given


@dataclass(slots=True, eq=False)
class GrantedCall:
    """A call of a worker, from its asking to its end."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    over: anyio.Event = field(default_factory=anyio.Event)
    permit: Permit | None = None
    is_sent: bool = False
    """Whether its record is written: then it may be paid for."""
    has_ended: bool = False
    has_answer: bool = False

    def finish(self, feedback: CallFeedback, paid: Amounts | None) -> None:
        """What came of it, once."""
        if self.permit and not self.has_ended:
            self.has_ended, self.has_answer = True, feedback.result == "ok"
            self.permit.finished(feedback, paid)

    def end(self) -> None:
        """Nothing more will be heard of it."""
        self.scope.cancel()
        self.over.set()


@dataclass(slots=True, eq=False)
class Member:
    """A worker as the driver knows it."""

    link: Link
    given: dict[int, Given] = field(default_factory=dict)
    """Its ranges, by their numbers."""
    homes: dict[int, int] = field(default_factory=dict)
    """The range that a task of it is in."""
    leases: dict[int, GrantedCall] = field(default_factory=dict)
    waiting: list[FromDriver] = field(default_factory=list)
    wake: anyio.Event = field(default_factory=anyio.Event)
    received: int = 0
    told_to_stop: float = math.inf
    has_ended: bool = False
    allowance: Allowance | None = None
    in_flight: int = 0
    """Calls that it had sent when it was lost."""

    def stand(self, now: Allowance) -> None:
        """How things stand, if that is news."""
        if now != self.allowance:
            self.allowance = now
            self.tell(now)

    def finish(self, task: int) -> None:
        """It has done with a task; with the last one of a range it has done with that."""
        given = self.given[self.homes.pop(task)]
        given.left.discard(task)
        if not given.left:
            del self.given[given.shard.number]

    def release(self) -> None:
        """It is lost, or has ended: its calls are over."""
        self.in_flight = sum(lease.is_sent and not lease.has_ended for lease in self.leases.values())
        for lease in self.leases.values():
            lease.end()

    def tell(self, message: FromDriver) -> None:
        """Something to be delivered."""
        self.waiting.append(message)
        self.wake.set()


@contextmanager
def released(member: Member) -> Iterator[None]:
    """However the block ends, the calls of the worker are over: who waits for them goes on.

    They keep themselves from being cancelled, as calls under way do: nobody else would end them.
    """
    try:
        yield
    finally:
        member.release()
