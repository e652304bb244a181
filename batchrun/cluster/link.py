"""How the driver reaches a worker, whatever carries it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from batchrun.cluster.messages import Delivery, FromDriver


class WorkerLostError(Exception):
    """A worker does not answer any more, and never will. Its text says why."""


class WorkerBrokenError(WorkerLostError):
    """The same of one whose own code failed: another one would, too."""

    hint = "This is a bug in batchrun: please report it."


class Link(Protocol):
    """One worker. Both methods raise WorkerLostError."""

    @property
    def name(self) -> str:
        """Where it runs, for people."""
        ...

    def give_up(self) -> None:
        """It is counted as lost: if it is alive after all it is to end."""
        ...

    async def collect(self, received: int) -> Delivery:
        """What it has to tell; `received` is the number of the last delivery that was worked on."""
        ...

    async def deliver(self, messages: Sequence[FromDriver]) -> None:
        """Tell it something; it has it on return."""
        ...
