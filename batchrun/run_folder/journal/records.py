"""The journal's records.

The records of one task, a row asked for in a submit, share a `task` number. `Sent` stands before each call,
`Answered` after it, `Ran` after the functions that an answer called, `Done` when the row has its
outcome.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from batchrun.outcome import ErrorType, Exchange, Outcome
from batchrun.value import value

REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-generation-id")


@value(frozen=True, slots=True)
class Header:
    """The first line of every journal file."""

    version: int


@value(frozen=True, slots=True)
class Sent:
    """Call number `call` of a task is about to be sent: until its answer it is possibly paid."""

    task: int
    call: int
    row: int
    key: int
    request_hash: str
    model: str
    endpoint: str
    model_index: int
    at: float
    tokens: int
    """Tokens reserved for the call in the rate windows."""
    bound_usd: float | None = None
    """The most that the call can cost; None where that has no bound, or no price is known."""
    bound_tokens: int | None = None
    """The most tokens that it can take, likewise."""
    step: int = 0
    """The step of the row's conversation: 0 the first, then re-asks, turns, tool results."""
    step_digest: str = ""
    """A digest of what is asked beyond the row's own request: an answer is replayed for that alone."""
    named: str = ""
    """The model that the row itself names, where the job's `model` leaves it to the rows."""
    batch: str = ""
    """The provider's batch that the call went by; empty for a call of its own."""


@value(frozen=True, slots=True)
class Ran:
    """What the functions gave that an answer called, as told to the model; `calls` is a digest of those."""

    task: int
    step: int
    calls: str
    results: tuple[str, ...]


@value(frozen=True, slots=True)
class Continues:
    """The task goes on from the records of a task that failed, which stand before its own.

    `again` are calls whose answers are asked for again. `earlier` is that task's own (`Done.earlier`).
    """

    task: int
    again: tuple[int, ...]
    earlier: dict[str, Any] | None
    first: int = 0
    """The first call of its own."""


@value(frozen=True, slots=True)
class Answered:
    """What came of a call."""

    task: int
    call: int
    at: float
    exchange: Exchange


@value(frozen=True, slots=True)
class Done:
    """The row's outcome. `errors` says for each call why it did not answer the row, or None."""

    task: int
    row: int
    row_id: str
    key: int
    request_hash: str
    at: float
    model_index: int
    outcome: Outcome
    errors: tuple[ErrorType | None, ...] = ()
    earlier: dict[str, Any] | None = None
    """`attempts`, `usage` and `cost_usd` of the askings of this row that failed before."""
    reading: dict[str, Any] | None = None
    """What the job made of the answer (`Reading.document`)."""
    cost_usd: float | None = None
    """What the calls of this task cost, as far as it is known; without `earlier`."""
    spend: dict[str, list[Any]] | None = None
    """What its own calls took of the budget, those without an answer at their bounds (`Spend.document`)."""


@value(frozen=True, slots=True)
class Admitted:
    """What the rate windows and pauses held when a journal file began (`Admission.snapshot`)."""

    state: dict[str, Any]


TaskRecord: TypeAlias = Sent | Ran | Continues | Answered | Done
"""A record that belongs to a task."""

Record: TypeAlias = Header | Admitted | TaskRecord
