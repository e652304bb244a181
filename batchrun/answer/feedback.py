"""What a call that has ended says of its endpoint: whether it works, its limits, its load. Pure."""

from __future__ import annotations

from batchrun.admission.circuit import report
from batchrun.admission.gate import CallFeedback
from batchrun.concurrency import Result
from batchrun.limits.headers import read_rate_headers
from batchrun.outcome import Response
from batchrun.policy.judge import CallOutcome

FAILURES = frozenset({"server", "connection", "timeout", "invalid_response"})
"""Errors that are the endpoint's own."""

_PROVES_NOTHING = frozenset({"auth", "quota", "model_not_found", "server"})
"""Answers that do not show that the endpoint can do its work."""


def feedback_of(judged: CallOutcome, *, row: int, now_wall: float, has_spare: bool) -> CallFeedback:
    """What the gates are told of a row's call, at `now_wall` (seconds since the epoch).

    `has_spare` says that the endpoint has further servers: one's failure is not the endpoint's.
    """
    error, exchange, usage = judged.error, judged.exchange, judged.bill.usage
    replied = isinstance(exchange, Response)
    told = report(judged)
    return CallFeedback(
        _result(judged),
        used=_used(judged),
        output_tokens=usage.completion_tokens if usage else None,
        account=read_rate_headers(exchange.headers, now_wall) if isinstance(exchange, Response) else None,
        proves=replied and (error is None or error.type not in _PROVES_NOTHING),
        report=None if has_spare and told != "ok" else told,
        row=row,
        error=error,
    )


def _used(judged: CallOutcome) -> int | None:
    """The tokens that a call took, as a server counts them; None where it does not say."""
    exchange = judged.exchange
    if judged.bill.usage is not None:
        return judged.bill.usage.total_tokens
    if isinstance(exchange, Response):
        return None if 200 <= exchange.status < 300 else 0
    return None if exchange.sent else 0


def _result(judged: CallOutcome) -> Result:
    """What a call says of the load that the endpoint can take."""
    error = judged.error
    if error is None:
        return "ok"
    if error.type == "rate_limit":
        return "refused"
    return "failed" if error.type in FAILURES else "nothing"
