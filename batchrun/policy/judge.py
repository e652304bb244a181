"""What an exchange means for the call: the protocol read by `chat`, refusals by `error_reply`."""

from __future__ import annotations

from batchrun.chat.answer.completion import Completion, ErrorInside, NoAnswer, read_completion
from batchrun.outcome import Error, Exchange, Unanswered, Usage
from batchrun.policy.error_reply import classify, classify_error_body
from batchrun.value import value


@value(frozen=True, slots=True)
class Judged:
    """What came of a call: the completion in it, or else why there is none."""

    exchange: Exchange
    completion: Completion | None
    error: Error | None
    usage: Usage | None = None
    """What the call took, with a completion or without."""
    cost_usd: float | None = None
    """What the server says that it cost."""
    service_tier: str | None = None
    cache_write_tokens: int | None = None
    """Tokens of the prompt that the provider wrote into its cache, where it says."""


def judge(exchange: Exchange) -> Judged:
    """Read what came of a call. Whether the job takes the answer is not decided here."""
    if isinstance(exchange, Unanswered):
        return Judged(exchange, None, Error(exchange.type, exchange.message))
    if not 200 <= exchange.status < 300:
        return Judged(exchange, None, classify(exchange))
    read = read_completion(exchange.body)
    completion: Completion | None = None
    error: Error | None = None
    match read:
        case Completion():
            completion = read
        case ErrorInside():
            error = classify_error_body(exchange.status, read.error)
        case NoAnswer():
            error = Error("invalid_response", read.reason, http_status=exchange.status)
    took = read.usage, read.cost_usd, read.service_tier, read.cache_write_tokens
    return Judged(exchange, completion, error, *took)
