"""A row to be answered, and how far it has come."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from batchrun.budget import Amounts, Tally
from batchrun.clock import Clock
from batchrun.job import ModelChoice
from batchrun.outcome import Error, ErrorType
from batchrun.render.request import RowRequest
from batchrun.run_folder.journal.history import History
from batchrun.value import value


@value(frozen=True, slots=True)
class Task:
    """A row to be answered. One that is asked for again in a later submit is another task.

    `model_indexes` are the positions in the chain to ask, in order; `history` holds what an earlier,
    killed submit received for this row.
    """

    number: int
    row: int
    row_id: str
    key: int
    request_hash: str
    request: RowRequest | Error
    model_indexes: tuple[int, ...]
    history: History = field(default_factory=History)
    earlier: dict[str, Any] | None = None
    """What the row took when it failed before (`Done.earlier`)."""
    goes_on: bool = False
    """Whether `history` is of a task that failed: its records are to be carried into this one's."""


@value(frozen=True, slots=True)
class StepKey:
    """Names a step of a row: its number, and a digest of what is asked beyond the row's own request."""

    number: int
    digest: str


class OutOfTimeError(Exception):
    """A row's time is over."""


@dataclass(slots=True)
class RowProgress:
    """How far a row has come: its next call, why each call so far did not answer it, and what they took."""

    next_call: int
    deadline: float
    """When the row's time is over, in monotonic seconds."""
    errors: list[ErrorType | None] = field(default_factory=list)
    answered: int = -1
    """The call whose answer was the last to be given on."""
    cost_usd: float | None = None
    """Of all calls whose cost is known."""
    tally: Tally = field(default_factory=Tally)
    """What this task took of the budget."""
    first_sent: float = math.inf
    """When the first of its calls was sent, in seconds since the epoch."""
    received: set[str] = field(default_factory=set)
    """The ids of the completions that its calls received."""

    @contextmanager
    def in_time(self, clock: Clock) -> Iterator[None]:
        """Wait in the block no longer than the row may take. Raises OutOfTimeError."""
        with anyio.move_on_after(self.deadline - clock.monotonic()) as scope:
            yield
        if scope.cancelled_caught:
            raise OutOfTimeError

    def note(self, call: int, error: Error | None) -> None:
        """Remember why a call did not answer the row, or that it did."""
        self.errors.extend([None] * (call + 1 - len(self.errors)))
        self.errors[call] = error.type if error else None

    def paid(self, at: float, amounts: Amounts, cost_usd: float | None) -> None:
        """Count what a call took that was sent `at` (seconds since the epoch)."""
        self.tally.add(at, amounts)
        if cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + cost_usd


@value(frozen=True, slots=True)
class Question:
    """One step, put to one model: what each of its calls says."""

    task: Task
    step: StepKey
    model_index: int
    """The model's position in the chain."""
    model: ModelChoice
    body: bytes
    progress: RowProgress
    leave_for: frozenset[str] = frozenset()
    """Reasons for which the row would rather go on to another model than wait."""
