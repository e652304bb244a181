"""Errors as OpenAI's API words them: a status, and a body `{"error": {message, type, param, code}}`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from batchrun.codec import dumps
from batchrun.simulator.limits.limits import Over
from batchrun.simulator.limits.rules import HintForm


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error."""

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | int | None = None
    retry_after: float | None = None
    """Seconds."""

    def body(self) -> bytes:
        """The error object."""
        fields = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return dumps({"error": fields})


class RefusedError(Exception):
    """The request cannot be answered; `refusal` is what to send."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


KINDS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "Your request was malformed."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("billing_error", "insufficient_credits", "Insufficient credits."),
    403: ("invalid_request_error", "permission_denied", "You are not allowed to sample from this model."),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model does not exist or you do not have access to it.",
    ),
    408: ("timeout_error", None, "The request timed out."),
    409: ("conflict_error", None, "The resource was changed by another request."),
    413: ("invalid_request_error", "request_too_large", "The request is too large."),
    422: ("invalid_request_error", "unprocessable_entity", "The request could not be processed."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached."),
    498: ("capacity_exceeded", "capacity_exceeded", "Flex tier capacity exceeded."),
    503: ("server_error", "overloaded", "The engine is currently overloaded, please try again later."),
    529: ("overloaded_error", None, "Overloaded"),
}
"""Type, code and message that go with a status where a fault gives none."""

SERVER = ("server_error", None, "The server had an error while processing your request. Sorry about that!")


def of_status(
    status: int, message: str | None = None, type_: str | None = None, code: str | int | None = None
) -> Refusal:
    """The error OpenAI would send with `status`, with what is given in place of its usual words."""
    kind, usual_code, usual_message = KINDS.get(status, SERVER)
    return Refusal(
        status, message or usual_message, type_ or kind, None, usual_code if code is None else code
    )


def not_found(method: str, path: str) -> Refusal:
    """No such address."""
    return Refusal(404, f"Invalid URL ({method} {path})")


def wrong_key() -> Refusal:
    """The bearer token is not the one expected; the message does not repeat it."""
    return of_status(401)


def no_model(model: str) -> Refusal:
    """The model is not in the list of those that exist."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return Refusal(404, message, code="model_not_found")


def too_long(window: int, prompt_tokens: int, max_tokens: int) -> Refusal:
    """Prompt and completion do not fit the model."""
    message = (
        f"This model's maximum context length is {window} tokens. "
        f"However, you requested {prompt_tokens + max_tokens} tokens "
        f"({prompt_tokens} in the messages, {max_tokens} in the completion). "
        "Please reduce the length of the messages or completion."
    )
    return Refusal(400, message, param="messages", code="context_length_exceeded")


_SHORT = {("requests", "min"): "RPM", ("requests", "day"): "RPD", ("tokens", "min"): "TPM"}


def over_limit(model: str, over: Over, hint: HintForm) -> Refusal:
    """More requests or tokens than the window takes. Without a wait when none would help, or by `hint`."""
    unit = f"{over.what} per {over.per} ({_SHORT[over.what, over.per]})"
    figures = f"Limit {over.limit}, Used {over.used:.0f}, Requested {over.requested:.0f}."
    if math.isinf(over.wait):
        message = f"Request too large for {model} on {unit}: {figures}"
        return Refusal(429, message, over.what, code="rate_limit_exceeded")
    message = f"Rate limit reached for {model} on {unit}: {figures}"
    if hint != "none":
        message += _spoken(over.wait)
    return _later(message, over.what, over.wait, hint)


def busy(concurrency: int, hint: HintForm) -> Refusal:
    """Every place is taken, and nothing queues here."""
    message = f"Too many concurrent requests: {concurrency} are being generated."
    if hint == "message":
        message += _spoken(_BUSY)
    return _later(message, "requests", _BUSY, hint)


_BUSY = 1.0
"""Seconds until a place may be free: a guess, as services make it."""


def _spoken(wait: float) -> str:
    return f" Please try again in {math.ceil(wait * 1000) / 1000:.3f}s."


def _later(message: str, kind: str, wait: float, hint: HintForm) -> Refusal:
    told = None if hint == "none" else wait
    return Refusal(429, message, kind, code="rate_limit_exceeded", retry_after=told)
