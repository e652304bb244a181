"""Requests for stored completions, made again where that may help: each of them may be made twice."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from batchrun.clock import Clock
from batchrun.outcome import Error, Exchange, NoResponse, Response
from batchrun.policy.decision import PauseEndpoint, Retry, RetryRules, decide
from batchrun.policy.error_response import NO_RESOURCE, classify
from batchrun.policy.retry_after import retry_after, should_retry

_RULES = RetryRules(max_attempts=5, max_wait=60.0, backoff_initial=0.5, backoff_max=8.0)

_UNKNOWN = frozenset({405, 501})
"""Statuses of a server that does not know the method."""


def error_of(exchange: Exchange) -> Error | None:
    """Why a request came to nothing; None where it went well."""
    if isinstance(exchange, NoResponse):
        return Error(exchange.type, exchange.message)
    return None if 200 <= exchange.status < 300 else classify(exchange, NO_RESOURCE)


def is_unknown(exchange: Exchange) -> bool:
    """Whether the endpoint does not know such requests at all."""
    return isinstance(exchange, Response) and exchange.status in _UNKNOWN


async def asked(request: Callable[[], Awaitable[Exchange]], clock: Clock) -> Exchange:
    """What came of a request in the end.

    A pace that is too high, an error of the server and a lost connection are waited out, a few times and for
    a minute at most.
    """
    attempt = 1
    while True:
        exchange = await request()
        wait = _wait(exchange, attempt, clock)
        if wait is None:
            return exchange
        await clock.sleep(wait)
        attempt += 1


def _wait(exchange: Exchange, attempt: int, clock: Clock) -> float | None:
    """Seconds until the request is made again; None where it is not."""
    error = error_of(exchange)
    if error is None or attempt == _RULES.max_attempts or is_unknown(exchange):
        return None
    headers = exchange.headers if isinstance(exchange, Response) else {}
    action = decide(
        error,
        attempt=attempt,
        retry_after=retry_after(headers, clock.wall(), error),
        jitter=random.random(),
        retry=_RULES,
        rate_limited=attempt,
        endpoint_rate_limited=attempt,
        should_retry=should_retry(headers),
    )
    match action:
        case Retry(after):
            return after
        case PauseEndpoint(seconds, row_wait):
            return max(seconds, row_wait)
    return None
