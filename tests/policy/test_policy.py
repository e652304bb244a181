"""What a failed attempt means, when to come back, and what to do next."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.outcome import ERROR_TYPES, Error, ErrorType, Response
from batchrun.policy.decision import (
    CloseEndpoint,
    CloseModel,
    NextModel,
    PauseEndpoint,
    Retry,
    RetryRules,
    backoff,
    decide,
)
from batchrun.policy.error_response import classify, classify_error_body
from batchrun.policy.retry_after import retry_after, should_retry


def reply(status: int, body: object, headers: dict[str, str] | None = None) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers or {}, data, 0.1)


def openai(
    message: str, *, type: str = "invalid_request_error", code: str | int | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


CURRENT_QUOTA = "You exceeded your current quota, please check your plan and billing details."
RATE = "Rate limit reached for gpt-4.1 on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000."
HTML_502 = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502</h1>nginx</body></html>"

REPLIES: list[tuple[str, ErrorType, Response]] = [
    # 429: a pace, or an empty account
    ("OpenAI rate", "rate_limit", reply(429, openai(RATE, type="tokens", code="rate_limit_exceeded"))),
    (
        "OpenAI rate, with a link to billing",
        "rate_limit",
        reply(
            429, openai(RATE + " Visit /account/billing to add a payment method.", code="rate_limit_exceeded")
        ),
    ),
    (
        "OpenAI quota",
        "quota",
        reply(429, openai(CURRENT_QUOTA, type="insufficient_quota", code="insufficient_quota")),
    ),
    (
        "OpenAI quota by type, even with a Retry-After",
        "quota",
        reply(429, openai("", type="insufficient_quota"), {"retry-after": "1"}),
    ),
    *(
        (f"429 {code}", "quota", reply(429, openai("no", code=code)))
        for code in (
            "credit_balance_exhausted",
            "organization_usage_limit_exceeded",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "enforced_spend_limit_reached",
        )
    ),
    ("429 quota in words", "quota", reply(429, {"message": CURRENT_QUOTA})),
    (
        "Gemini: the same words with a time are a rate",
        "rate_limit",
        reply(429, [{"error": {"code": 429, "message": CURRENT_QUOTA + " Please retry in 34.07s."}}]),
    ),
    (
        "Gemini's status",
        "rate_limit",
        reply(429, {"error": {"code": 429, "message": CURRENT_QUOTA, "status": "RESOURCE_EXHAUSTED"}}),
    ),
    (
        "OpenAI: more tokens than the whole limit",
        "context_length",
        reply(
            429,
            openai(
                "Request too large for gpt-4 on tokens per min (TPM): Limit 10000, Requested 20000.",
                type="tokens",
                code="rate_limit_exceeded",
            ),
        ),
    ),
    (
        "Bedrock's pace",
        "rate_limit",
        reply(429, {"message": "Too many tokens, please wait before trying again."}),
    ),
    ("429 HTML", "rate_limit", reply(429, b"<html><body>Too Many Requests</body></html>")),
    ("429 empty", "rate_limit", reply(429, b"")),
    # 402: the account, unless it comes back
    ("402", "quota", reply(402, {"error": {"message": "Insufficient credits", "code": 402}})),
    (
        "402 Anthropic",
        "quota",
        reply(402, {"type": "error", "error": {"type": "billing_error", "message": "m"}}),
    ),
    (
        "402 OpenRouter, in flight",
        "rate_limit",
        reply(
            402,
            {
                "error": {
                    "message": "m",
                    "code": 402,
                    "metadata": {"limit_source": "openrouter_in_flight_budget"},
                }
            },
            {"retry-after": "3"},
        ),
    ),
    # 401, 403
    ("401", "auth", reply(401, openai("Incorrect API key provided", code="invalid_api_key"))),
    ("401 plain", "auth", reply(401, b"Unauthorized")),
    ("403 elsewhere", "auth", reply(403, {"error": {"message": "Forbidden"}})),
    ("403 empty", "auth", reply(403, b"")),
    ("403 a firewall's page", "invalid_request", reply(403, b"<!DOCTYPE html><title>Blocked</title>")),
    (
        "403 Together",
        "context_length",
        reply(
            403,
            openai(
                "The input token count plus max_tokens exceeds the model's max length: prompt is too long"
            ),
        ),
    ),
    (
        "403 OpenRouter moderation",
        "content_filter",
        reply(
            403, {"error": {"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["x"]}}}
        ),
    ),
    (
        "403 OpenRouter key limit",
        "quota",
        reply(403, {"error": {"code": 403, "message": "Key limit exceeded"}}),
    ),
    (
        "403 OpenAI model",
        "model_not_found",
        reply(403, openai("Project `p` does not have access to model `m`", code="model_not_found")),
    ),
    (
        "403 Together, as documented",
        "context_length",
        reply(
            403, openai("Input token count + `max_tokens` must be less than the context length of the model")
        ),
    ),
    ("403 Together, in other words", "invalid_request", reply(403, openai("Bad Request"))),
    (
        "403 OpenRouter guardrail",
        "content_filter",
        reply(
            403, {"error": {"code": 403, "message": "Request blocked: prompt injection patterns detected"}}
        ),
    ),
    (
        "403 OpenRouter guardrail, as Anthropic's error",
        "content_filter",
        reply(403, {"error": {"type": "permission_error", "message": "Request blocked: injection"}}),
    ),
    *(
        (
            f"403 {source}",
            "quota",
            reply(403, {"error": {"code": 403, "message": "m", "metadata": {"limit_source": source}}}),
        )
        for source in (
            "openrouter_guardrail_budget",
            "openrouter_workspace_budget",
            "openrouter_key_limit",
        )
    ),
    (
        "403 Azure quota",
        "quota",
        reply(403, {"error": {"code": "403", "message": "Out of call volume quota."}}),
    ),
    (
        "403 xAI credits",
        "quota",
        reply(
            403, {"error": "Your team has used all available credits or reached its monthly spending limit."}
        ),
    ),
    (
        "403 OpenAI scope",
        "auth",
        reply(
            403, openai("You have insufficient permissions for this operation. Missing scopes: model.request")
        ),
    ),
    (
        "403 OpenAI, a model not allowed",
        "auth",
        reply(403, openai("You are not allowed to sample from this model")),
    ),
    ("407", "auth", reply(407, b"Proxy Authentication Required")),
    ("400 LiteLLM budget", "quota", reply(400, openai("Budget has been exceeded!", type="budget_exceeded"))),
    ("400 LiteLLM expired key", "auth", reply(400, openai("Expired Key", type="expired_key"))),
    (
        "401 LiteLLM, a model that the key may not use",
        "model_not_found",
        reply(401, openai("key not allowed to access model", type="key_model_access_denied", code="401")),
    ),
    (
        "400 Anthropic, the spend limit",
        "quota",
        reply(
            400,
            openai("You have reached your specified API usage limits. You will regain access on 2026-01-01"),
        ),
    ),
    ("400 Groq, an organization locked out", "auth", reply(400, openai("m", code="organization_restricted"))),
    ("400 throttled", "rate_limit", reply(400, openai("m", code="ThrottlingException"))),
    ("412 Fireworks", "quota", reply(412, openai("m", code="ACCOUNT_SUSPENDED"))),
    ("429 Azure quota", "quota", reply(429, openai("m", code="InsufficientQuota"))),
    (
        "429 Anthropic, a context the plan does not cover",
        "context_length",
        reply(429, openai("Extra usage is required for long context requests.", type="rate_limit_error")),
    ),
    (
        "404 OpenRouter, no provider for this row's parts",
        "invalid_request",
        reply(404, {"error": {"code": 404, "message": "No endpoints found that support image input"}}),
    ),
    (
        "404 OpenRouter, no provider at all",
        "model_not_found",
        reply(404, {"error": {"code": 404, "message": "No endpoints found matching your data policy"}}),
    ),
    ("499", "server", reply(499, b"")),
    (
        "500 LiteLLM, too long",
        "context_length",
        reply(500, openai("litellm.ContextWindowExceededError: too long", code="500")),
    ),
    # 404 and its like
    (
        "404 model",
        "model_not_found",
        reply(404, openai("The model `x` does not exist", code="model_not_found")),
    ),
    ("404 Ollama", "model_not_found", reply(404, {"error": 'model "x" not found, try pulling it first'})),
    ("404 FastAPI", "model_not_found", reply(404, {"detail": "Not Found"})),
    ("405", "model_not_found", reply(405, b"Method Not Allowed")),
    ("301", "model_not_found", reply(301, b"", {"location": "https://u:p@example.org/v1/?key=k"})),
    # 400 and its like
    (
        "400 context",
        "context_length",
        reply(400, openai("This model's maximum context length is 8192", code="context_length_exceeded")),
    ),
    (
        "400 vLLM flat",
        "context_length",
        reply(
            400,
            {
                "object": "error",
                "message": "This model's maximum context length is 4096 tokens. However, you requested 5000",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
    ),
    (
        "400 llama.cpp",
        "context_length",
        reply(400, {"error": {"code": 400, "message": "too big", "type": "exceed_context_size_error"}}),
    ),
    (
        "400 Anthropic",
        "context_length",
        reply(400, openai("prompt is too long: 212000 tokens > 200000 maximum")),
    ),
    (
        "400 OpenRouter, wrapped",
        "context_length",
        reply(
            400,
            {
                "error": {
                    "message": "Provider returned error",
                    "code": 400,
                    "metadata": {"raw": '{"error":{"code":"context_length_exceeded"}}', "provider_name": "X"},
                }
            },
        ),
    ),
    (
        "400 Azure filter",
        "content_filter",
        reply(
            400,
            openai(
                "The response was filtered due to the prompt triggering content policy", code="content_filter"
            ),
        ),
    ),
    (
        "400 Gemini key",
        "auth",
        reply(400, [{"error": {"code": 400, "message": "API key not valid. Please pass"}}]),
    ),
    (
        "400 OpenRouter model",
        "model_not_found",
        reply(400, openai("foo/bar is not a valid model ID", code=400)),
    ),
    (
        "400 Anthropic credit",
        "quota",
        reply(400, openai("Your credit balance is too low to access the Anthropic API.")),
    ),
    ("400 other", "invalid_request", reply(400, openai("'temperature' does not support 0 with this model."))),
    (
        "400 that echoes a row",
        "invalid_request",
        reply(
            400,
            {
                "detail": [
                    {
                        "loc": ["body"],
                        "msg": "x" * 300,
                        "input": "incorrect api key; credit balance is too low",
                    }
                ]
            },
        ),
    ),
    ("422", "invalid_request", reply(422, {"detail": [{"loc": ["body", "n"], "msg": "must be an integer"}]})),
    ("413 Anthropic", "context_length", reply(413, {"error": {"type": "request_too_large", "message": "m"}})),
    ("413 Groq", "context_length", reply(413, openai("Request too large", code="rate_limit_exceeded"))),
    ("413 nginx", "context_length", reply(413, b"<html>413 Request Entity Too Large</html>")),
    ("418", "invalid_request", reply(418, b"")),
    # transient
    *((f"{status}", "server", reply(status, b"")) for status in (408, 409, 425, 500, 502, 503, 504, 520)),
    ("529", "server", reply(529, {"type": "error", "error": {"type": "overloaded_error", "message": "O"}})),
    ("498 Groq", "server", reply(498, openai("flex", code="capacity_exceeded"))),
    ("502 HTML", "server", reply(502, HTML_502)),
    ("503 plain", "server", reply(503, b"upstream connect error")),
    (
        "500 LiteLLM about a key stays transient",
        "server",
        reply(500, openai("AuthenticationError", code="500")),
    ),
    (
        "500 llama-cpp-python",
        "context_length",
        reply(
            500, openai("Requested tokens (9000) exceed context window of 2048", type="internal_server_error")
        ),
    ),
]


@pytest.mark.parametrize(("expected", "answer"), [pytest.param(e, r, id=name) for name, e, r in REPLIES])
def test_status_and_body_decide_together(expected: ErrorType, answer: Response) -> None:
    """Each reply has one meaning, with its status and a message that is never empty."""
    error = classify(answer)

    assert expected == error.type
    assert error.http_status == answer.status
    assert error.message


@pytest.mark.parametrize(
    ("expected", "status", "error"),
    [
        ("server", 502, {"message": "Provider disconnected", "code": 502}),
        ("rate_limit", 429, {"message": "slow down", "code": "429"}),
        ("server", 200, {"message": "overloaded", "type": "overloaded_error"}),
        ("context_length", 200, {"message": "m", "code": "context_length_exceeded"}),
        ("invalid_request", 200, {"message": "m", "type": "invalid_request_error"}),
        ("server", 200, {"message": "something", "code": None}),
        ("server", 200, {}),
        ("auth", 401, {"error": {"message": "No auth credentials found", "code": 401}}),
    ],
)
def test_an_error_inside_a_200_is_read_by_its_code(
    expected: ErrorType, status: int, error: dict[str, Any]
) -> None:
    """A numeric code takes the place of the status; without any clue the failure is the server's."""
    result = classify_error_body(200, error)
    assert (expected, status) == (result.type, result.http_status)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(404, b"404 page not found"), "check base_url and model: 404 page not found"),
        (
            reply(301, b"", {"location": "https://u:p@a.org/v1?key=k"}),
            "redirects to https://a.org/v1; base_url",
        ),
        (reply(502, HTML_502), "502 Bad Gateway 502 nginx"),
        (reply(400, openai("bad\x1b]52;c;x\x07\r\n\tthing\u202e")), "bad ]52;c;x thing"),
        (reply(500, b""), "HTTP 500"),
        (reply(500, b"\xff\xfe"), "\ufffd\ufffd"),
    ],
)
def test_messages_are_one_clean_line_with_a_hint(answer: Response, expected: str) -> None:
    """No control characters, no markup, no credentials of a URL, and what to do where it is known."""
    message = classify(answer).message
    assert expected in message
    assert message.isprintable()


def test_a_long_message_is_cut() -> None:
    """A message of megabytes takes 500 characters of a results row."""
    assert len(classify(reply(500, b"x" * 1_000_000)).message) == 500


@pytest.mark.parametrize(
    ("error", "code"),
    [({"code": "a", "type": "b"}, "a"), ({"code": None, "type": "b"}, "b"), ({"code": 7}, "7"), ({}, None)],
)
def test_the_code_is_the_servers_own(error: dict[str, Any], code: str | None) -> None:
    """As text, the type standing in where there is no code."""
    assert code == classify(reply(400, {"error": error})).code


@given(
    st.integers(100, 999),
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda x: (
                st.lists(x)
                | st.dictionaries(
                    st.sampled_from(["error", "code", "type", "message", "detail", "metadata", "raw"]), x
                )
            ),
        ).map(lambda x: json.dumps(x).encode()),
    ),
)
def test_any_reply_has_a_meaning(status: int, body: bytes) -> None:
    """No body can raise: an error of ours while reading an error would hide it."""
    error = classify(Response(status, {}, body, 0.0))
    assert error.type in ERROR_TYPES
    assert 0 < len(error.message) <= 500


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("expected", "headers"),
    [
        (2.0, {"retry-after": "2"}),
        (1.5, {"retry-after": " 1.5 "}),
        (0.25, {"retry-after-ms": "250", "retry-after": "9"}),
        (9.0, {"retry-after-ms": "soon", "retry-after": "9"}),
        (0.0, {"retry-after": "0"}),
        (1e9, {"retry-after": "1000000000"}),
        (1e9, {"retry-after": "1e9"}),
        (30.0, {"retry-after": formatdate(NOW + 30, usegmt=True)}),
        (30.0, {"retry-after": formatdate(NOW + 30)}),
        (7.0, {"llm_provider-retry-after": "7"}),
        (0.7, {"llm_provider-retry-after-ms": "700"}),
        (None, {"retry-after": formatdate(NOW - 30, usegmt=True)}),
        *(
            (None, {"retry-after": text})
            for text in ("-1", "nan", "inf", "1e999", "", "soon", "1_000", "٣", "1 2")
        ),
        (None, {"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}),
        (None, {}),
    ],
)
def test_retry_after_is_read_in_every_form(expected: float | None, headers: dict[str, str]) -> None:
    """Seconds, milliseconds, dates and LiteLLM's names; nonsense is as if it were not there."""
    assert expected == retry_after(headers, NOW)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (18.65, "Rate limit reached. Please try again in 18.65s."),
        (360.0, "Please try again in 6m0s. Visit"),
        (0.02, "Please try again in 20ms"),
        (3723.5, "try again in 1h2m3.5s"),
        (26.0, "Please retry after 26 seconds."),
        (34.074824224, "Please retry in 34.074824224s."),
        (65.0, "Retry after 1 minute and 5 seconds"),
        (86400.0, "try again in 1 day"),
        (None, "try again later"),
        (None, "try again in 5"),
        (None, "try again in 5 months"),
        (None, "waited 5s"),
        (None, "try again in " + "9" * 400 + "s"),
    ],
)
def test_a_message_can_say_when(expected: float | None, message: str) -> None:
    """Go durations and plain words, as providers and gateways write them."""
    assert expected == pytest.approx(retry_after({}, NOW, Error("rate_limit", message)))


def test_a_header_counts_before_the_message() -> None:
    """The header is the exact one."""
    assert retry_after({"retry-after": "3"}, NOW, Error("rate_limit", "try again in 9s")) == 3.0


@given(st.text(), st.text(), st.text())
def test_no_text_breaks_it(header: str, milliseconds: str, message: str) -> None:
    """Whatever stands there, the answer is None or a wait that is finite and not negative."""
    seconds = retry_after(
        {"retry-after": header, "retry-after-ms": milliseconds}, NOW, Error("rate_limit", message)
    )
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), (" False", False), ("maybe", None), ("", None)]
)
def test_should_retry_is_the_servers_word(value: str, expected: bool | None) -> None:
    """Anything but true and false says nothing."""
    assert expected is should_retry({"x-should-retry": value})


RULES = RetryRules(max_attempts=3, max_wait=120, backoff_initial=0.5, backoff_max=60)
FACTS: dict[str, Any] = {
    "attempt": 1,
    "rate_limited": 1,
    "endpoint_rate_limited": 1,
    "retry_after": None,
    "should_retry": None,
    "jitter": 0.5,
    "retry": RULES,
}
"""What is known of the first failure, where a test says nothing else."""


def err(type: ErrorType) -> Error:
    return Error(type, "m")


@pytest.mark.parametrize(
    ("type", "facts", "expected"),
    [
        ("auth", {}, CloseEndpoint(None)),
        ("quota", {"retry_after": 5.0}, CloseEndpoint(None)),
        ("auth", {"should_retry": True}, CloseEndpoint(None)),
        ("model_not_found", {}, CloseModel()),
        # a pace: never an attempt
        ("rate_limit", {"attempt": 99, "retry_after": 2.0}, PauseEndpoint(2.0, row_wait=0.25)),
        ("rate_limit", {"rate_limited": 1}, PauseEndpoint(0.25, row_wait=0.25)),
        ("rate_limit", {"rate_limited": 4}, PauseEndpoint(0.25, row_wait=2.0)),
        ("rate_limit", {"endpoint_rate_limited": 4}, PauseEndpoint(2.0, row_wait=0.25)),
        ("rate_limit", {"rate_limited": 4, "retry_after": 0.0}, PauseEndpoint(0.0, row_wait=2.0)),
        ("rate_limit", {"retry_after": 120.0}, PauseEndpoint(120.0, row_wait=0.25)),
        ("rate_limit", {"retry_after": 120.5}, CloseEndpoint(120.5)),
        ("rate_limit", {"retry_after": 1e9}, CloseEndpoint(1e9)),
        ("rate_limit", {"retry_after": 2.0, "should_retry": False}, NextModel(pause=2.0)),
        # transient: attempts, full jitter
        *((t, {"attempt": 1}, Retry(0.25)) for t in ("server", "connection", "timeout", "invalid_response")),
        ("server", {"attempt": 2}, Retry(0.5)),
        ("server", {"attempt": 2, "jitter": 0.0}, Retry(0.0)),
        ("server", {"attempt": 3}, NextModel()),
        ("server", {"attempt": 1, "retry_after": 7.0}, PauseEndpoint(7.0, row_wait=0.25)),
        ("server", {"attempt": 2, "retry_after": 0.1}, PauseEndpoint(0.1, row_wait=0.5)),
        ("server", {"attempt": 3, "retry_after": 7.0}, NextModel(pause=7.0)),
        ("server", {"attempt": 3, "retry_after": 600.0}, CloseEndpoint(600.0)),
        ("server", {"should_retry": False}, NextModel()),
        # the row's own
        *((t, {}, NextModel()) for t in ("invalid_request", "context_length", "content_filter", "refusal")),
        *((t, {}, NextModel()) for t in ("invalid_output", "truncated", "cancelled")),
        ("invalid_request", {"retry_after": 600.0}, NextModel()),
        ("invalid_request", {"should_retry": True}, Retry(0.25)),
        ("invalid_request", {"should_retry": True, "attempt": 3}, NextModel()),
    ],
)
def test_what_follows_from_an_error(type: ErrorType, facts: dict[str, Any], expected: object) -> None:
    """One table: the error, the attempt, what the server said → the action."""
    assert expected == decide(err(type), **{**FACTS, **facts})


@given(
    st.sampled_from(["rate_limit", "server"]),
    st.integers(1, 10**6),
    st.floats(0, 120),
    st.floats(0, 0.999),
)
def test_nobody_asks_before_a_retry_after(type: ErrorType, attempt: int, told: float, jitter: float) -> None:
    """Whatever the attempt and the jitter, the endpoint pauses for at least what the server said."""
    known = {"attempt": attempt, "rate_limited": attempt, "retry_after": told, "jitter": jitter}
    action = decide(err(type), **{**FACTS, **known})
    pause = action.seconds if isinstance(action, PauseEndpoint) else None
    if isinstance(action, NextModel):
        pause = action.pause
    assert pause is not None
    assert pause >= told


@given(st.integers(0, 10**9))
def test_backoff_doubles_up_to_its_maximum(count: int) -> None:
    """No count overflows."""
    assert RULES.backoff_initial <= backoff(count, RULES) <= RULES.backoff_max
    assert backoff(count + 1, RULES) >= backoff(count, RULES)
