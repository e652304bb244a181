"""What passes between the driver and its workers. Plain values, which pickle carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from batchrun.admission.gate import CallFeedback
from batchrun.admission.states import Reason, Unavailable
from batchrun.budget import Amounts
from batchrun.engines.tasks import Assignment
from batchrun.limits import Size
from batchrun.outcome import Error, ErrorType
from batchrun.source import Mark
from batchrun.summary import Stop
from batchrun.value import value

RecordKind: TypeAlias = Literal["sent", "answer", "ran", "continues", "done"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker must know of the run.

    `job` is the text of the job as the run folder keeps it: no key is in it. `variables` are values of
    `${VAR}` outside `endpoints`, None for one that the driver does not have; those there, and keys, come
    from the worker's own environment. `drain` in seconds. `run` is the run's own id.
    """

    version: str
    job: str
    variables: Mapping[str, str | None]
    retry_model: str | None
    drain: float
    run: str


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows for one worker, by their positions in the input, ascending.

    `hashes` are the beginnings of their requests' hashes, as the driver's index has them. `mark` is where
    to begin to read, at or before the first of them.
    """

    number: int
    positions: Sequence[int]
    hashes: Sequence[int]
    assignments: Sequence[Assignment]
    mark: Mark | None


# from a worker


@value(frozen=True, slots=True)
class Recorded:
    """A line for the journal. `failed` of a row that has its outcome: how, or None; `call` of a call that is
    about to be sent: the permit that it was given."""

    task: int
    kind: RecordKind
    line: bytes
    failed: ErrorType | None = None
    call: int | None = None


@value(frozen=True, slots=True)
class Carried:
    """Records of a task that failed, from which the task goes on."""

    task: int
    lines: Sequence[bytes]


@value(frozen=True, slots=True)
class PermitRequest:
    """A call that would go now."""

    call: int
    endpoint: str
    model: str
    size: Size
    bound: Amounts
    leave_for: frozenset[str]


@value(frozen=True, slots=True)
class Forgone:
    """A call that was asked for and will not go: its row's time is over, or the run stops."""

    call: int


@value(frozen=True, slots=True)
class CallFinished:
    """What came of a call that was granted."""

    call: int
    feedback: CallFeedback
    paid: Amounts | None


@value(frozen=True, slots=True)
class Freed:
    """A call that was granted is over."""

    call: int


@value(frozen=True, slots=True)
class Paused:
    """An answer said when to come back to an endpoint; in seconds from now."""

    endpoint: str
    seconds: float
    reason: Reason


@value(frozen=True, slots=True)
class Shut:
    """An endpoint, or one model there, takes no more calls: for `seconds`, None for this run."""

    endpoint: str
    model: str | None
    reason: Error
    seconds: float | None


@value(frozen=True, slots=True)
class LeftRow:
    """A row stays pending: every model that it may ask is closed."""

    task: int
    models: tuple[int, ...]
    closed: Unavailable


@value(frozen=True, slots=True)
class Counted:
    """What has been counted since the last time, by the names of `summary.Counters`."""

    counts: Mapping[str, float]


@value(frozen=True, slots=True)
class Said:
    """Something for the user."""

    text: str


@value(frozen=True, slots=True)
class Logged:
    """Something for the run's log."""

    event: str
    fields: Mapping[str, Any]


@value(frozen=True, slots=True)
class Ended:
    """The worker has done all that it was given, or stopped: why, where it was not told to.

    `error` is what ended it: the name of a class of `batchrun.errors`, its message and its hint.
    """

    stop: Stop | None = None
    error: tuple[str, str, str | None] | None = None


FromWorker: TypeAlias = (
    Recorded
    | Carried
    | PermitRequest
    | Forgone
    | CallFinished
    | Freed
    | Paused
    | Shut
    | LeftRow
    | Counted
    | Said
    | Logged
    | Ended
)


# from the driver


@value(frozen=True, slots=True)
class Granted:
    """The answer to a `PermitRequest`: it may go, or what is closed, or what the budget does not hold."""

    call: int
    closed: Unavailable | None = None
    exhausted: str | None = None


@value(frozen=True, slots=True)
class Allowance:
    """What a worker may do now: `slots` calls at once, at models that are open by (endpoint, name). And which
    endpoints have a circuit that is not closed, and whether the run is paused."""

    slots: int
    open: frozenset[tuple[str, str]]
    tripped: frozenset[str]
    is_paused: bool


@value(frozen=True, slots=True)
class NoMoreShards:
    """The worker ends when it has done what it has."""


@value(frozen=True, slots=True)
class StopNow:
    """Send nothing more; calls under way may land for so many seconds."""

    drain: float


FromDriver: TypeAlias = Granted | Allowance | Shard | NoMoreShards | StopNow


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a worker has to tell; `number` counts its records and calls, so that they can be acknowledged."""

    number: int
    messages: Sequence[FromWorker] = field(default_factory=tuple)
