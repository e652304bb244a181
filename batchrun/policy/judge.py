"""What an exchange means for the call: the protocol read by `chat`, refusals by `error_response`."""

from __future__ import annotations

from batchrun.chat.response.completion import Completion, ErrorInside, NoAnswer, read_completion
from batchrun.chat.response.usage import NO_BILL, Bill
from batchrun.outcome import Error, Exchange, NoResponse
from batchrun.policy.error_response import classify, classify_error_body
from batchrun.value import value


@value(frozen=True, slots=True)
class CallOutcome:
    """What came of a call: the completion in it, or else why there is none."""

    exchange: Exchange
    completion: Completion | None
    error: Error | None
    bill: Bill = NO_BILL
    """What the call took, with a completion or without."""


def judge(exchange: Exchange) -> CallOutcome:
    """Read what came of a call. Whether the job takes the answer is not decided here."""
    if isinstance(exchange, NoResponse):
        return CallOutcome(exchange, None, Error(exchange.type, exchange.message))
    if not 200 <= exchange.status < 300:
        return CallOutcome(exchange, None, classify(exchange))
    read = read_completion(exchange.body)
    match read:
        case Completion():
            return CallOutcome(exchange, read, None, read.bill)
        case ErrorInside():
            error = classify_error_body(exchange.status, read.error)
        case NoAnswer():
            error = Error("invalid_response", read.reason, http_status=exchange.status)
    return CallOutcome(exchange, None, error, read.bill)
