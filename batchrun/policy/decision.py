"""What follows from a failed attempt: retry, pause, next model, close. Pure: never sleeps, never logs.

`error_response.classify` says what a response means, `retry_after` when the server wants to be asked
again; `decide` turns both into an action, which the caller carries out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from batchrun.outcome import Error


@dataclass(frozen=True, slots=True)
class RetryRules:
    """The job's `retry`; times in seconds."""

    max_attempts: int = 8
    max_wait: float = 120.0
    backoff_initial: float = 0.5
    backoff_max: float = 60.0


@dataclass(frozen=True, slots=True)
class Retry:
    """This row waits `after` seconds, then asks the same model again."""

    after: float


@dataclass(frozen=True, slots=True)
class PauseEndpoint:
    """Nobody asks this endpoint for `seconds`; then this row asks the same model again."""

    seconds: float
    row_wait: float = 0.0
    """Seconds that this row waits at least, whatever the others do."""


@dataclass(frozen=True, slots=True)
class NextModel:
    """This model will not answer this row: its attempts are used up, or asking again cannot help."""

    pause: float | None = None
    """Seconds for which nobody may ask this endpoint all the same: the server said so."""


@dataclass(frozen=True, slots=True)
class CloseEndpoint:
    """Nobody asks this endpoint for `seconds` (None: in this run); this row goes on to the next model."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class CloseModel:
    """Nobody asks this model at this endpoint again in this run; this row goes on to the next model."""


Action: TypeAlias = Retry | PauseEndpoint | NextModel | CloseEndpoint | CloseModel

_RETRYABLE = frozenset({"rate_limit", "server", "connection", "timeout", "invalid_response"})
"""Failures that another attempt can mend; a 200 without an answer in it is most often one cut short."""


def decide(
    error: Error,
    *,
    attempt: int,
    rate_limited: int,
    endpoint_rate_limited: int,
    retry_after: float | None,
    should_retry: bool | None,
    jitter: float,
    retry: RetryRules,
) -> Action:
    """What follows from an attempt that failed with `error`.

    `attempt` counts the attempts of this row at this model without its 429s, `rate_limited` its 429s in
    a row, `endpoint_rate_limited` those of all rows since a call went well: one row that is always
    refused must not stop the others for longer than the server says. Each includes the one that just
    failed. `jitter` in [0, 1) is drawn by the caller: full jitter. `should_retry` is the server's word,
    which overrules ours except where a key, the credit or the model is refused. Nobody asks earlier
    than `retry_after` (seconds); above `max_wait` that closes the endpoint.
    """
    if error.type in ("auth", "quota"):
        return CloseEndpoint(None)
    if error.type == "model_not_found":
        return CloseModel()
    if not (error.type in _RETRYABLE or should_retry):
        return NextModel()
    if retry_after is not None and retry_after > retry.max_wait:
        return CloseEndpoint(retry_after)
    if should_retry is False:
        return NextModel(retry_after)
    if error.type == "rate_limit":
        row_wait = jitter * backoff(rate_limited, retry)
        if retry_after is None:
            return PauseEndpoint(jitter * backoff(endpoint_rate_limited, retry), row_wait=row_wait)
        return PauseEndpoint(retry_after, row_wait=row_wait)
    if attempt >= retry.max_attempts:
        return NextModel(retry_after)
    wait = jitter * backoff(attempt, retry)
    return Retry(wait) if retry_after is None else PauseEndpoint(retry_after, row_wait=wait)


def backoff(count: int, retry: RetryRules) -> float:
    """The longest wait after `count` failures in a row, in seconds: doubles up to the maximum."""
    return min(retry.backoff_max, retry.backoff_initial * 2.0 ** min(max(count - 1, 0), 64))
