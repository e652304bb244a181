"""What endpoints do, and what follows: the exact calls, the exact waits, what is closed, what the row gets.

Through the real parts from the answerer down to the HTTP client, in virtual time. A row has 4 attempts at
a model; the backoff is 1, 2, 4, 8 s, of which the jitter takes half; an attempt may take 10 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.stack import EPOCH, OK, Says, ask, completion, each_row, raises, says

ONCE = (0.0,)
TWICE = (0.0, 0.5)
FOUR = (0.0, 0.5, 1.5, 3.5)
"""All the attempts of a row that fails at once."""


@dataclass(frozen=True, slots=True)
class Case:
    """A behaviour of the endpoint `main`: what it says call by call, the last for ever; and what follows."""

    name: str
    says: tuple[Says, ...]
    calls: tuple[float, ...]
    """When `main` is called, in seconds."""
    outcomes: tuple[str, ...]
    """By row: ok, the error's type, or pending."""
    closed: tuple[str, ...] = ()
    spare: tuple[float, ...] = ()
    """When the fallback at another endpoint is called; it always answers."""
    stops: bool = False
    """Whether no model is left to ask."""
    job: Mapping[str, Any] = field(default_factory=dict)


def error(message: str, type: str | None = None, code: str | int | None = None) -> dict[str, Any]:
    """An error object in OpenAI's form."""
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def retried(name: str, first: Says, *calls: float) -> Case:
    """It passes: asked again, and answered."""
    return Case(name, (first, OK), calls or TWICE, ("ok",))


def row_fails(name: str, answer: Says, outcome: str, calls: tuple[float, ...] = ONCE) -> Case:
    """The row's own: it fails, the others go on."""
    return Case(name, (answer,), calls, (outcome,))


def closes(name: str, answer: Says, closed: str = "main", calls: tuple[float, ...] = ONCE) -> Case:
    """Nobody is asked any more: the row stays pending, and the run stops as one that can be continued."""
    return Case(name, (answer,), calls, ("pending",), (closed,), stops=True)


RATE = error("Rate limit reached for gpt-4.1", "tokens", "rate_limit_exceeded")
QUOTA = error("You exceeded your current quota, please check your plan.", "insufficient_quota")
BUSY = says(503, b"busy")
GO_PAGE = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
FIREWALL = b"<!DOCTYPE html><title>Blocked</title>"


def in_metadata(message: str, limit_source: str) -> dict[str, Any]:
    return {"error": {"code": 402, "message": message, "metadata": {"limit_source": limit_source}}}


PACE = [
    retried("429 with the seconds", says(429, RATE, retry_after="2"), 0.0, 2.0),
    retried("429 with seconds and a part", says(429, RATE, retry_after="2.5"), 0.0, 2.5),
    retried(
        "429 with milliseconds (Azure)", says(429, RATE, retry_after_ms="2500", retry_after="9"), 0.0, 2.5
    ),
    retried("429 with less than our own wait", says(429, RATE, retry_after_ms="250")),
    retried("429 with a date", says(429, RATE, retry_after=formatdate(EPOCH + 30, usegmt=True)), 0.0, 30.0),
    retried(
        "429 with a date that has passed", says(429, RATE, retry_after=formatdate(EPOCH - 9, usegmt=True))
    ),
    retried(
        "429 with LiteLLM's name for it", says(429, RATE, headers={"llm_provider-retry-after": "7"}), 0.0, 7.0
    ),
    retried("429 with the time in words", says(429, error("Please try again in 18.65s.")), 0.0, 18.65),
    retried("429 of Azure, in words", says(429, error("Please retry after 26 seconds.", "429")), 0.0, 26.0),
    *(
        retried(f"429 with Retry-After: {value}", says(429, RATE, retry_after=value))
        for value in ("0", "-1", "nan", "inf", "1e999", "soon", "")
    ),
    retried("429 without a time", says(429, RATE)),
    retried(
        "429 of Anthropic for a steep start", says(429, error("usage increase rate", "rate_limit_error"))
    ),
    retried("429 as a page", says(429, b"<html>error 1015: you are being rate limited</html>")),
    retried("429 without a body", says(429)),
    retried(
        "429 of Gemini: a quota that comes back", says(429, [error("current quota; retry in 3s")]), 0.0, 3.0
    ),
    retried("429 with the most that is waited for", says(429, RATE, retry_after="120"), 0.0, 120.0),
    retried("402 of OpenRouter, held by calls in flight", says(402, {}, retry_after="3"), 0.0, 3.0),
    retried("402 of OpenRouter, by its metadata", says(402, in_metadata("m", "openrouter_in_flight_budget"))),
    Case("429 costs no attempt", (*[says(429, RATE)] * 6, OK), (*FOUR, 7.5, 11.5, 15.5), ("ok",)),
    row_fails("429 that must not be retried", says(429, RATE, x_should_retry="false"), "rate_limit"),
    closes("429 for longer than is waited", says(429, RATE, retry_after="121"), "main for 121 s"),
    closes("429 for 30 years", says(429, RATE, retry_after="1e9"), "main for 1e+09 s"),
    closes("429 until tomorrow, in words", says(429, error("try again in 7h12m0s")), "main for 25920 s"),
]

MONEY = [
    *(
        closes(f"429 {code}", says(429, error("no", code=code)))
        for code in (
            "insufficient_quota",
            "credit_balance_exhausted",
            "organization_usage_limit_exceeded",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "enforced_spend_limit_reached",
        )
    ),
    closes("429 insufficient_quota by type, with a time", says(429, QUOTA, retry_after="1")),
    closes("429 that should be retried, of no quota", says(429, QUOTA, x_should_retry="true")),
    closes("429 of LiteLLM's own budget", says(429, error("Budget has been exceeded!", "budget_exceeded"))),
    closes("402 of Anthropic", says(402, {"type": "error", **error("m", "billing_error")})),
    closes("402 of OpenRouter and Together", says(402, error("Insufficient credits", code=402))),
    closes("402 with nonsense for a time", says(402, error("no"), retry_after="nan")),
    closes("403 of OpenRouter, the key's limit", says(403, error("Key limit exceeded", code=403))),
    closes("403 of OpenRouter, a budget", says(403, in_metadata("m", "openrouter_workspace_budget"))),
    closes("403 of xAI, no credits", says(403, {"error": "Your team has used all available credits."})),
    closes("400 of Anthropic, no credit", says(400, error("Your credit balance is too low to access."))),
]

KEYS = [
    closes("401", says(401, error("Incorrect API key provided", code="invalid_api_key"))),
    closes("401 that should be retried", says(401, b"", x_should_retry="true")),
    closes("403 elsewhere", says(403, error("Forbidden"))),
    closes("403 of OpenAI, a scope", says(403, error("Missing scopes: x", "invalid_request_error"))),
    closes("403 of OpenRouter, a permission", says(403, error("Insufficient permissions", code=403))),
    closes("400 of Gemini, the key", says(400, [error("API key not valid.", code=400)])),
    closes("401 in a 200", says(200, error("No auth credentials found", code=401))),
    closes("404 of a model", says(404, error("The model `x` does not exist")), "main/large"),
    closes("404 of Azure", says(404, error("m", code="DeploymentNotFound")), "main/large"),
    closes("404 as a page", says(404, b"<html>404 Not Found</html>"), "main/large"),
    closes("405", says(405), "main/large"),
    closes("a redirect", says(301, b"", location="https://example.org/v1"), "main/large"),
    closes("400 of an unknown model", says(400, error("a/b is not a valid model ID")), "main/large"),
    closes(
        "401 of a model the key may not use", says(401, error("m", "key_model_access_denied")), "main/large"
    ),
]

ROWS = [
    row_fails("400 too long", says(400, error("m", code="context_length_exceeded")), "context_length"),
    row_fails(
        "400 too long, vLLM's flat form",
        says(400, {"object": "error", "message": "maximum context length is 4096", "code": 400}),
        "context_length",
    ),
    row_fails("413 of Anthropic", says(413, error("m", "request_too_large")), "context_length"),
    row_fails("413 of Groq", says(413, RATE), "context_length"),
    row_fails("429 for more than a minute's tokens", says(429, error("Request too large")), "context_length"),
    row_fails(
        "403 of Together",
        says(403, error("Input token count + max_tokens must be less than the context length of the model")),
        "context_length",
    ),
    row_fails(
        "403 of Together in other words", says(403, error("m", "invalid_request_error")), "invalid_request"
    ),
    row_fails(
        "403 of OpenRouter's guardrail", says(403, error("Request blocked: injection")), "content_filter"
    ),
    row_fails("403 of a firewall", says(403, FIREWALL), "invalid_request"),
    row_fails("400 of Azure's filter", says(400, error("m", code="content_filter")), "content_filter"),
    row_fails(
        "200 of Azure's filter", says(200, completion(finish_reason="content_filter")), "content_filter"
    ),
    row_fails("400", says(400, error("temperature: must be at most 2")), "invalid_request"),
    row_fails("422", says(422, {"detail": [{"msg": "must be an integer"}]}), "invalid_request"),
    row_fails(
        "404 of OpenRouter: no provider takes an image",
        says(404, error("No endpoints found that support image input", code=404)),
        "invalid_request",
    ),
    retried("400 that should be retried", says(400, b"", x_should_retry="true")),
    row_fails("200 with a finish_reason of its own", says(200, completion(finish_reason="eos")), "ok"),
]

PASSING = [
    *(retried(f"{s}", says(s)) for s in (408, 409, 498, 499, 500, 502, 503, 504, 520, 529)),
    retried("529 of Anthropic", says(529, error("Overloaded", "overloaded_error"))),
    retried("498 of Groq", says(498, error("flex", code="capacity_exceeded"))),
    retried("502 as a page", says(502, GO_PAGE)),
    retried("503 with a time", says(503, b"", retry_after="7"), 0.0, 7.0),
    retried("529 with less than our own wait", says(529, b"", retry_after="0.1")),
    retried(
        "500 that quotes a prompt of times", says(500, error("internal error at: try again in 24 hours"))
    ),
    closes("503 for longer than is waited", says(503, b"", retry_after="600"), "main for 600 s"),
    row_fails("503 that must not be retried", says(503, b"", x_should_retry="false"), "server"),
    row_fails("500 always, as behind LiteLLM", says(500, error("AuthenticationError")), "server", FOUR),
    row_fails(
        "500 too long, behind LiteLLM", says(500, error("ContextWindowExceededError")), "context_length"
    ),
    retried("200 with a 502 in it", says(200, {"id": "x", "error": {"code": 502, "message": "m"}})),
    retried("200 with a 429 in it", says(200, error("slow down", code=429))),
    retried("200 with choices null", says(200, {"choices": None})),
    retried("200 with no choices", says(200, {"choices": []})),
    retried("200 with message null", says(200, completion(message=None))),
    retried("200 that is no JSON", says(200, b'{"choices": [')),
    retried("200 with a page", says(200, b"<html>Welcome</html>")),
    retried("200 with nothing", says(200)),
    row_fails("200 with no choices, always", says(200, {"choices": []}), "invalid_response", FOUR),
    retried("a lost connection", raises(httpx.ReadError)),
    row_fails("a lost connection, always", raises(httpx.ReadError), "connection", FOUR),
    row_fails("silence, always", says(200, after=99), "timeout", (0.0, 10.5, 21.5, 33.5)),
    retried("a server that comes up late", raises(httpx.ConnectError)),
    closes("a server that is never up", raises(httpx.ConnectError), calls=FOUR),
]

SPARE = {"fallbacks": ["spare/small"]}
SIBLING = {"fallbacks": ["main/small"]}


def falls_back(name: str, answer: Says, calls: tuple[float, ...], *closed: str, **job: Any) -> Case:
    """The next model answers, as soon as the first one cannot."""
    spare = calls[-1] + (10.0 if answer is SILENT else 0.0)
    return Case(name, (answer,), calls, ("ok",), closed, (spare,), job={**SPARE, **job})


def stays(name: str, answer: Says, outcome: str, **job: Any) -> Case:
    """`fallback_on` does not hold the reason."""
    return Case(name, (answer,), ONCE, (outcome,), job={**SPARE, **job})


SILENT = says(200, after=99)
TOO_LONG = says(400, error("m", code="context_length_exceeded"))
FILTERED = says(400, error("m", code="content_filter"))

CHAINS = [
    falls_back("rate_limit", says(429, RATE, retry_after="600"), ONCE, "main for 600 s"),
    falls_back("server", BUSY, FOUR),
    falls_back("connection", raises(httpx.ReadError), FOUR),
    falls_back("connection, never up", raises(httpx.ConnectError), ONCE),
    falls_back("timeout", SILENT, (0.0, 10.5, 21.5, 33.5)),
    falls_back("quota", says(429, QUOTA), ONCE, "main"),
    falls_back("auth", says(401), ONCE, "main"),
    falls_back("model_not_found", says(404), ONCE, "main/large"),
    falls_back("context_length", TOO_LONG, ONCE),
    falls_back("content_filter where asked for", FILTERED, ONCE, fallback_on=["content_filter"]),
    falls_back(
        "refusal where asked for",
        says(200, completion(message={"refusal": "no"})),
        ONCE,
        fallback_on=["refusal"],
    ),
    stays("content_filter is no reason by default", FILTERED, "content_filter"),
    stays("invalid_request is none either", says(400), "invalid_request"),
    stays("context_length where it is left out", TOO_LONG, "context_length", fallback_on=["server"]),
    Case(
        "quota where it is left out",
        (says(429, QUOTA),),
        ONCE,
        ("pending",),
        ("main",),
        job={**SPARE, "fallback_on": ["server"]},
    ),
    Case(
        "a model that is gone, and another there",
        (says(404), OK),
        (0.0, 0.0),
        ("ok",),
        ("main/large",),
        job=SIBLING,
    ),
    Case(
        "a key that is wrong, and another model there",
        (says(401), OK),
        ONCE,
        ("pending",),
        ("main",),
        stops=True,
        job=SIBLING,
    ),
    Case(
        "both models gone",
        (says(404),),
        (0.0, 0.0),
        ("pending",),
        ("main/large", "main/small"),
        stops=True,
        job=SIBLING,
    ),
    Case(
        "a time that is waited for is no reason",
        (says(429, RATE, retry_after="60"), OK),
        (0.0, 60.0),
        ("ok",),
        job=SPARE,
    ),
]

MANY = [
    Case("auth costs one call", (says(401),), ONCE, ("pending",) * 10, ("main",), stops=True),
    Case("quota costs one call", (says(429, QUOTA),), ONCE, ("pending",) * 10, ("main",), stops=True),
    Case(
        "an unknown model costs one call", (says(404),), ONCE, ("pending",) * 10, ("main/large",), stops=True
    ),
    Case("the first call goes alone", (says(200, completion(), after=5), OK), (0.0, 5.0, 5.0), ("ok",) * 3),
    Case(
        "quota in the middle",
        (OK, OK, says(429, QUOTA)),
        (0.0, 0.0, 0.0),
        ("ok", "ok", "pending", "pending"),
        ("main",),
        stops=True,
        job={"model": {"model": "main/large", "limits": {"concurrency": 1}}},
    ),
    Case(
        "quota in the middle, with a fallback",
        (OK, says(429, QUOTA)),
        (0.0, 0.0),
        ("ok",) * 4,
        ("main",),
        (0.0,) * 3,
        job={"model": {"model": "main/large", "limits": {"concurrency": 1}}, **SPARE},
    ),
    Case(
        "a Retry-After holds the other rows, which then come one after another",
        (says(429, RATE, retry_after="5"), OK),
        (0.0, 5.0, 5.031, 5.062),
        ("ok",) * 3,
    ),
    Case(
        "a Retry-After of a 503 holds the other rows as well",
        (OK, says(503, b"", retry_after="5"), OK),
        (0.0, 0.0, 5.0, 5.031),
        ("ok",) * 3,
        job={"model": {"model": "main/large", "limits": {"concurrency": 1}}},
    ),
    Case(
        "a 503 without a time holds nobody",
        (OK, BUSY, OK),
        (0.0, 0.0, 0.0, 0.5),
        ("ok",) * 3,
    ),
    Case(
        "one row that always gets a 500 fails after its attempts, the others go on",
        (each_row(row_1=says(500)),),
        (0.0, 0.0, 0.0, 0.0, 0.5, 1.5, 3.5),
        ("ok", "server", "ok", "ok"),
    ),
    Case(
        "the first row always gets a 500",
        (each_row(row_0=says(500)),),
        (0.0, 0.0, 0.0, 0.5, 1.5, 3.5),
        ("server", "ok", "ok"),
    ),
    Case(
        "one row is too long",
        (each_row(row_1=says(403, error("m", "invalid_request_error"))),),
        (0.0, 0.0, 0.0),
        ("ok", "invalid_request", "ok"),
    ),
    Case(
        "a server that is never up costs 4 calls, not 4 for each row",
        (raises(httpx.ConnectError),),
        FOUR,
        ("pending",) * 3,
        ("main",),
        stops=True,
    ),
    Case(
        "a server that comes up late costs no row an attempt",
        (*[raises(httpx.ConnectError)] * 3, *[BUSY] * 3, OK),
        (0.0, 0.5, 1.5, 3.5, 4.0, 5.0, 7.0),
        ("ok",),
    ),
]

TABLE = [*PACE, *MONEY, *KEYS, *ROWS, *PASSING, *CHAINS, *MANY]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_each_behaviour_has_its_exact_calls_and_waits(tmp_path: Path, case: Case) -> None:
    """One table: what the endpoint says → when it is called, what the rows get, what is closed."""
    answers = {"main": case.says, "spare": (OK,)}
    report = ask(tmp_path, answers, rows=len(case.outcomes), **case.job)

    assert list(case.outcomes) == report.outcomes
    assert pytest.approx(case.calls, abs=0.002) == report.times["main"]
    assert pytest.approx(case.spare, abs=0.002) == report.times["spare"]
    assert list(case.closed) == report.closed
    assert case.stops is not report.goes_on


def test_the_table_has_no_line_twice() -> None:
    """A name says which line failed."""
    assert len({case.name for case in TABLE}) == len(TABLE)
