"""What an exchange means for its row: the protocol read by `chat`, refusals by `error_reply`."""

from __future__ import annotations

from dataclasses import dataclass

from batchrun.chat.completion import Completion, ErrorInside, NoAnswer, read_completion
from batchrun.error_reply import classify, classify_error_body
from batchrun.outcome import Error, Exchange, Unanswered


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a call, the completion in it, if any, and why it does not answer the row, if so."""

    exchange: Exchange
    completion: Completion | None
    error: Error | None


def judge(exchange: Exchange, fail_on: frozenset[str]) -> Judged:
    """Read what came of a call."""
    if isinstance(exchange, Unanswered):
        return Judged(exchange, None, Error(exchange.type, exchange.message))
    if not 200 <= exchange.status < 300:
        return Judged(exchange, None, classify(exchange))
    read = read_completion(exchange.body)
    match read:
        case ErrorInside(error=inside):
            return Judged(exchange, None, classify_error_body(exchange.status, inside))
        case NoAnswer(reason=reason):
            return Judged(exchange, None, Error("invalid_response", reason, http_status=exchange.status))
        case Completion():
            return Judged(exchange, read, _unwanted(read, fail_on))


def _unwanted(completion: Completion, fail_on: frozenset[str]) -> Error | None:
    """Why an answer makes its row failed: a reason of `fail_on`, or a text cut before its first word."""
    choice = completion.choices[0]
    if choice.refusal and "refusal" in fail_on:
        return Error("refusal", choice.refusal[:500], http_status=200)
    if choice.finish_reason == "content_filter" and "content_filter" in fail_on:
        return Error("content_filter", "the provider's filter stopped the answer", http_status=200)
    if choice.finish_reason == "length" and ("truncated" in fail_on or choice.is_empty):
        return Error("truncated", "the answer reached its token limit", http_status=200)
    return None
