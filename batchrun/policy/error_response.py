"""What a response that is no success means: one of the `error.type` names. Pure.

Status alone does not tell: a 429 is a pace or an empty account, a 403 a bad key or a long prompt, a
200 may hold an error. So each status has its list of signs in the body, codes before texts, and a
meaning for when none is found. Sources: the error pages and recorded answers of OpenAI, Azure,
Anthropic, Gemini, OpenRouter, Together, Groq, vLLM, llama.cpp and LiteLLM.

A sign that ends an endpoint or a model for the whole run is never looked for far into a text: a
server may echo the prompt there, and a row must not be able to close an endpoint.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from batchrun import codec
from batchrun.outcome import Error, ErrorType, Response
from batchrun.policy.retry_after import retry_after, spoken_delay

_MESSAGE_LENGTH = 500
_TEXT_LENGTH = 64 * 1024
_HEAD_LENGTH = 200

_NO_COMPLETIONS = "no chat completions at this URL, or no such model there; check base_url and model"

NO_RESOURCE = "nothing of that name or kind there"
"""What a 404 or 405 says to who asked for a file, a batch or a stored completion."""

_Sign: TypeAlias = tuple[ErrorType, frozenset[str] | re.Pattern[str]]


def _codes(type_: ErrorType, names: str) -> _Sign:
    return type_, frozenset(names.split())


def _says(type_: ErrorType, pattern: str) -> _Sign:
    return type_, re.compile(pattern, re.IGNORECASE | re.DOTALL)


_QUOTA = _codes(
    "quota",
    "insufficient_quota credit_balance_exhausted organization_usage_limit_exceeded billing_error"
    " organization_spend_limit_exceeded project_spend_limit_exceeded enforced_spend_limit_reached"
    " billing_hard_limit_reached billing_not_active insufficient_credits insufficient_balance"
    " insufficientquota budget_exceeded account_suspended openrouter_guardrail_budget"
    " openrouter_workspace_budget openrouter_key_limit",
)
_CONTEXT = _codes(
    "context_length",
    "context_length_exceeded request_too_large exceed_context_size_error string_above_max_length"
    " contextwindowexceedederror",
)
_FILTER = _codes(
    "content_filter",
    "content_filter content_policy_violation responsibleaipolicyviolation contentpolicyviolationerror",
)
_MODEL = _codes(
    "model_not_found",
    "model_not_found model_not_available model_decommissioned deploymentnotfound"
    " key_model_access_denied team_model_access_denied",  # LiteLLM: this key, not this model
)
_AUTH = _codes(
    "auth",
    "invalid_api_key authentication_error permission_error unauthorized unauthenticated permission_denied"
    " account_deactivated api_key_invalid unsupported_country_region_territory missing_scope expired_key"
    " organization_restricted",
)
_RATE = _codes(
    "rate_limit",
    "rate_limit_exceeded rate_limit_error too_many_requests resource_exhausted throttling"
    " throttlingexception",
)
_BUSY = _codes(
    "server",
    "server_error internal_server_error internalservererror overloaded_error capacity_exceeded api_error"
    " service_unavailable timeout_error",
)
_INVALID = _codes("invalid_request", "invalid_request_error badrequesterror")

_CONTEXT_TEXT = _says(
    "context_length",
    r"context[ _]?(window|size|length)|request too large"
    r"|(prompt|input|request|messages?) (is|are) too (long|large)|too many (input )?tokens"
    r"|reduce the length|max_new_tokens"
    r"|(longer than|exceed(s|ed)?) the (model'?s )?max(imum)? (model |input |sequence )?(length|tokens)",
)
_REQUEST_TEXT = _says("context_length", r"request too large|for long context requests")
_FILTER_TEXT = _says(
    "content_filter", r"content[ _](management|filter)|content policy|moderation|guardrail|was flagged"
)
_BLOCKED_TEXT = _says("content_filter", r"request (was )?blocked|prompt injection|guardrail")
_ROUTE_TEXT = _says("invalid_request", r"no endpoints found that (support|can handle)")
_MODEL_TEXT = _says(
    "model_not_found",
    r"\b(model|deployment)\b.{0,120}?(not found|not exist|is not available|decommissioned|not a valid model)"
    r"|not a valid model|(no such|unknown) model|have access to (the )?model",
)
_AUTH_TEXT = _says("auth", r"api[ _-]?key (is )?(not valid|invalid|expired)|(invalid|incorrect) api[ _-]?key")
_QUOTA_TEXT = _says(
    "quota",
    r"current quota|check your plan|billing|(spend|spending|key|credit) limit (exceeded|reached)"
    r"|insufficient credits|credit balance is too low|out of call volume quota"
    r"|used all (available )?credits|reached (its|your|the) (monthly )?(spending|usage) limit",
)
_BALANCE_TEXT = _says(
    "quota",
    r"credit balance is too low|insufficient (credits|balance)|reached your specified api usage limits",
)
_PERMISSION_TEXT = _says(
    "auth",
    r"permission|missing scope|not (allowed|authorized)|forbidden|(access|authentication) (is )?denied",
)

_Reading: TypeAlias = tuple[tuple[_Sign, ...], ErrorType]
_ROW_CODES = (_CONTEXT, _FILTER)
_CLIENT_CODES = (_QUOTA, _CONTEXT, _FILTER, _MODEL, _AUTH)
_CLIENT_TEXTS = (_CONTEXT_TEXT, _FILTER_TEXT, _MODEL_TEXT, _AUTH_TEXT, _BALANCE_TEXT)

_READINGS: dict[int, _Reading] = {
    200: ((*_CLIENT_CODES, _RATE, _BUSY, *_CLIENT_TEXTS, _INVALID), "server"),
    300: ((), "model_not_found"),
    400: ((*_CLIENT_CODES, _RATE, *_CLIENT_TEXTS), "invalid_request"),
    401: ((_QUOTA, _MODEL), "auth"),
    402: ((), "quota"),
    # OpenRouter's guardrails block a prompt, and Together's 403 is a request that is too long: a row's own.
    403: (
        (
            *(_QUOTA, _CONTEXT, _FILTER, _MODEL, _BLOCKED_TEXT, _AUTH),
            *(_CONTEXT_TEXT, _FILTER_TEXT, _QUOTA_TEXT, _MODEL_TEXT, _PERMISSION_TEXT, _INVALID),
        ),
        "auth",
    ),
    # OpenRouter: no provider of the model takes an image, or a parameter, that this row has.
    404: ((_ROUTE_TEXT,), "model_not_found"),
    405: ((), "model_not_found"),
    407: ((), "auth"),  # the proxy wants a password
    408: ((), "server"),
    409: ((), "server"),
    410: ((), "model_not_found"),
    413: ((), "context_length"),
    422: ((*_CLIENT_CODES, _CONTEXT_TEXT, _FILTER_TEXT), "invalid_request"),
    424: ((*_ROW_CODES, _CONTEXT_TEXT), "server"),  # Text Generation Inference: the generation failed
    425: ((), "server"),
    # OpenAI's "Request too large … Limit 10000, Requested 20000" has the rate's code, but no pause helps.
    429: ((_QUOTA, _CONTEXT, _REQUEST_TEXT, _RATE, _QUOTA_TEXT), "rate_limit"),
    498: ((), "server"),  # Groq: flex capacity exceeded
    499: ((), "server"),  # cancelled between a gateway and its server
    # Behind LiteLLM and in llama-cpp-python a prompt that is too long comes as a 500.
    500: ((*_ROW_CODES, _CONTEXT_TEXT), "server"),
}
"""By status, or by its hundred."""


def classify(response: Response, absent: str = _NO_COMPLETIONS) -> Error:
    """Read a response whose status is no success (outside 200 to 299).

    `absent` says what a 404 or 405 means for what was asked for, beside the server's own words.
    A redirect, a 404 and a 405 say that the endpoint does not have what the job names; they become
    `model_not_found`, which ends the model after one call instead of failing row after row.
    """
    timed = retry_after(response.headers, 0.0) is not None
    text = response.body[:_TEXT_LENGTH].decode("utf-8", errors="replace")
    body = _json(response.body)
    if isinstance(body, Mapping):
        return _explained(classify_error_body(response.status, body, timed=timed), response, absent)
    if response.status == 403 and re.search(r"<html|<!doctype", text, re.IGNORECASE):
        # A firewall's page, no API's answer: it may object to this one prompt, which must not close
        # the endpoint. If it objects to all of them, the breaker ends the run.
        return Error("invalid_request", clean(_plain(text)), None, 403)
    return _explained(_classify(response.status, frozenset(), _plain(text), timed=timed), response, absent)


def classify_error_body(status: int, error: Mapping[str, Any], *, timed: bool = False) -> Error:
    """Read an error object: OpenAI's `{error: {…}}` or what is in it, a flat one, FastAPI's `detail`.

    `status` is the response's; in a 200, a numeric `code` of 400 to 599 takes its place.
    `timed` says that a header named the time to retry at.
    """
    inner = _innermost(error)
    said = [text for key in ("code", "type", "status") if (text := _text(inner.get(key))) is not None]
    limit = _text(_metadata(inner).get("limit_source"))
    if 200 <= status < 300:
        status = next((int(text) for text in said if re.fullmatch("[45][0-9][0-9]", text)), status)
    timed = timed or limit == "openrouter_in_flight_budget"
    words = frozenset(text.lower() for text in (*said, limit or ""))
    result = _classify(status, words, _message(inner), timed=timed)
    return replace(result, code=clean(said[0]) if said else None)


def clean(message: str) -> str:
    """One line without control characters, of at most 500 characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in message[:_TEXT_LENGTH]).split())
    return line if len(line) <= _MESSAGE_LENGTH else line[: _MESSAGE_LENGTH - 1] + "…"


def _classify(status: int, words: frozenset[str], text: str, *, timed: bool) -> Error:
    signs, otherwise = _READINGS.get(status) or _READINGS[max(200, min(status // 100 * 100, 500))]
    timed = timed or spoken_delay(text) is not None
    type_ = next((sign[0] for sign in signs if _shows(sign, words, text, timed=timed)), otherwise)
    if status == 402 and timed:
        type_ = "rate_limit"  # OpenRouter: the budget is held by calls in flight
    return Error(type_, clean(text), None, status)


def _shows(sign: _Sign, words: frozenset[str], text: str, *, timed: bool) -> bool:
    type_, what = sign
    if isinstance(what, frozenset):
        return not words.isdisjoint(what)
    if type_ == "quota" and timed:
        return False  # a "quota" that comes back at a given time is a rate (Gemini's 429)
    row_only = type_ in ("context_length", "content_filter")
    return what.search(text, 0, len(text) if row_only else _HEAD_LENGTH) is not None


def _json(data: bytes) -> Any:
    """The body's JSON document; Gemini wraps its error in a list. None where it is no JSON."""
    try:
        body = codec.loads(data)
    except ValueError:
        return None
    return body[0] if isinstance(body, list) and body else body


def _plain(text: str) -> str:
    """The words of an HTML page; other text as it is."""
    if "<" not in text:
        return text
    text = re.sub(r"(?is)<(script|style)\b.*?(</\1>|$)|<!--.*?(-->|$)", " ", text)
    return html.unescape(re.sub(r"<[^<>]*>", " ", text))


def _innermost(error: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = error.get("error")
    if isinstance(nested, Mapping):
        return nested
    return {**error, "message": nested} if isinstance(nested, str) else error


def _message(error: Mapping[str, Any]) -> str:
    message = next((error[key] for key in ("message", "detail", "msg") if error.get(key)), error)
    text = message if isinstance(message, str) else _spelled(message)
    raw = _metadata(error).get("raw")
    return f"{text}: {raw}" if isinstance(raw, str) else text  # OpenRouter: the provider's own answer


def _spelled(value: object) -> str:
    try:
        return codec.dumps(value).decode(errors="replace")
    except ValueError as error:
        return f"the server's error is {error}"


def _metadata(error: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = error.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _text(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None


def _explained(error: Error, response: Response, absent: str) -> Error:
    """The error with what the status means for the job file, where it says so."""
    hint = ""
    if 300 <= response.status < 400:
        hint = f"{_redirect(response.headers.get('location', ''))}; base_url must be the final URL"
    elif (
        error.type == "model_not_found"
        and response.status in (404, 405)
        and error.code != "model_not_found"
        and not _names_model(error.message)
    ):
        hint = absent
    elif error.message:
        return error
    parts = (f"HTTP {response.status}", hint, error.message)
    return replace(error, message=clean(": ".join(part for part in parts if part)))


def _names_model(message: str) -> bool:
    return _shows(_MODEL_TEXT, frozenset(), message, timed=False)


def _redirect(location: str) -> str:
    """Where a redirect leads, without what a URL may hold of a secret."""
    target = re.sub(r"[?#].*", "", re.sub(r"//[^/@]*@", "//", location), flags=re.DOTALL)
    return f"the server redirects to {target}" if target else "the server redirects"
