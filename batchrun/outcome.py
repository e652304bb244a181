"""What can happen to one call and to one row, as frozen values.

A call ends as a `Response` (whatever its status) or as `NoResponse` (none came whole).
A row ends as `Completed` or `Failed`. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Literal, TypeAlias, get_args

from batchrun.value import value

ErrorType: TypeAlias = Literal[
    "bad_row",
    "render",
    "media",
    "invalid_request",
    "context_length",
    "content_filter",
    "refusal",
    "auth",
    "model_not_found",
    "quota",
    "rate_limit",
    "server",
    "connection",
    "timeout",
    "invalid_response",
    "invalid_output",
    "truncated",
    "cancelled",
]
ERROR_TYPES: tuple[str, ...] = get_args(ErrorType)

NEVER_SENT: frozenset[str] = frozenset({"bad_row", "render", "media"})
"""Failures found before a call: the same row gives the same failure until it, or the job, changes."""

PASSING: frozenset[str] = frozenset(
    {"rate_limit", "server", "connection", "timeout", "quota", "auth", "model_not_found", "cancelled"}
)
"""Failures whose cause may have passed: the next submit asks these rows again by itself."""

RETRYABLE: frozenset[str] = frozenset(ERROR_TYPES) - PASSING - NEVER_SENT
"""Failures that wait for a decision: these rows are asked again where it is said so."""


@value(frozen=True, slots=True)
class Error:
    """Why an attempt or a row failed: the `error` column of the results."""

    type: ErrorType
    message: str
    code: str | None = None
    """The code the server gave, as text."""
    http_status: int | None = None


@value(frozen=True, slots=True)
class Response:
    """What the server said to one call, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    latency: float
    """Seconds from sending the request to the last byte of the body."""
    ttft: float | None = None
    """Seconds from sending to the first piece of a streamed answer; `body` is then the whole answer."""
    renewed: bool = False
    """The key was refused, and there is a newer one: the same call may be made again at once."""


@value(frozen=True, slots=True)
class NoResponse:
    """A call without a whole response."""

    type: Literal["connection", "timeout"]
    message: str
    sent: bool
    """Whether the request may have reached the server: then it is possibly paid."""
    latency: float


Exchange: TypeAlias = Response | NoResponse


@value(frozen=True, slots=True)
class Usage:
    """Tokens of one or more calls; None where the server did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    prompt_audio_tokens: int | None = None
    completion_audio_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(_add, _counts(self), _counts(other)))


_counts = attrgetter(*Usage.__dataclass_fields__)


def _add(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


@value(frozen=True, slots=True)
class Completed:
    """The row has its answer: call number `call` of the row gave it."""

    call: int


@value(frozen=True, slots=True)
class Failed:
    """The row failed for good in this submit; `call` is the one whose answer is kept, if any."""

    error: Error
    call: int | None = None


Outcome: TypeAlias = Completed | Failed
