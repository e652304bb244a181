"""The forms in which answers tell of their limits, and in which refusals say when to come back."""

from __future__ import annotations

import asyncio
import re
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from batchrun.simulator import Running
from batchrun.simulator.config import Limits
from batchrun.simulator.limits.limits import ModelLimits
from tests.simulator.playing import play
from tests.simulator.wire import ask, body

WALL = 1_795_250_000.25
"""2026-11-21T08:33:20.25Z."""

FORMS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    (
        "openai",
        {},
        {
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-remaining-requests": "9",
            "x-ratelimit-reset-requests": "59.5s",
            "x-ratelimit-limit-tokens": "1000",
            "x-ratelimit-remaining-tokens": "600",
            "x-ratelimit-reset-tokens": "59.5s",
        },
    ),
    (
        "openai",
        {"kind": "bucket"},
        {
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-remaining-requests": "9",
            "x-ratelimit-reset-requests": "5.5s",
            "x-ratelimit-limit-tokens": "1000",
            "x-ratelimit-remaining-tokens": "608",
            "x-ratelimit-reset-tokens": "23.5s",
        },
    ),
    (
        "openai",
        {"kind": "bucket", "rpm": None, "tpm": None, "rpd": 10_000},
        {
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-reset-requests": "8.14s",
        },
    ),
    (
        "seconds",
        {"tpm": None},
        {
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-remaining-requests": "9",
            "x-ratelimit-reset-requests": "59.5",
        },
    ),
    (
        "anthropic",
        {},
        {
            "anthropic-ratelimit-requests-limit": "10",
            "anthropic-ratelimit-requests-remaining": "9",
            "anthropic-ratelimit-requests-reset": "2026-11-21T08:34:20Z",
            "anthropic-ratelimit-tokens-limit": "1000",
            "anthropic-ratelimit-tokens-remaining": "600",
            "anthropic-ratelimit-tokens-reset": "2026-11-21T08:34:20Z",
        },
    ),
    (
        "cerebras",
        {"rpm": None, "rpd": 500},
        {
            "x-ratelimit-limit-requests-day": "500",
            "x-ratelimit-remaining-requests-day": "499",
            "x-ratelimit-reset-requests-day": "86399.5",
            "x-ratelimit-limit-tokens-minute": "1000",
            "x-ratelimit-remaining-tokens-minute": "600",
            "x-ratelimit-reset-tokens-minute": "59.5",
        },
    ),
    (
        "azure",
        {"tpm": None, "window": 10},
        {
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-remaining-requests": "9",
            "x-ratelimit-reset-requests": "10",
            "x-ratelimit-renewalperiod-requests": "10",
        },
    ),
    (
        "groq",
        {"rpd": 14_400},
        {
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-remaining-requests": "14399",
            "x-ratelimit-reset-requests": "23h59m59.5s",
            "x-ratelimit-limit-tokens": "1000",
            "x-ratelimit-remaining-tokens": "600",
            "x-ratelimit-reset-tokens": "59.5s",
        },
    ),
    (
        "openrouter",
        {},
        {
            "X-RateLimit-Limit": "10",
            "X-RateLimit-Remaining": "9",
            "X-RateLimit-Reset": "1795250059750",
        },
    ),
    (
        "ietf",
        {"rpd": 500},
        {
            "RateLimit-Policy": '"requests-60s";q=10;w=60, "requests-86400s";q=500;w=86400, '
            '"tokens-60s";q=1000;w=60',
            "RateLimit": '"requests-60s";r=9;t=60, "requests-86400s";r=499;t=86400, "tokens-60s";r=600;t=60',
        },
    ),
    (
        "litellm",
        {"tpm": None, "rpd": 500},
        {
            "llm_provider-x-ratelimit-limit-requests": "10",
            "llm_provider-x-ratelimit-remaining-requests": "9",
            "llm_provider-x-ratelimit-reset-requests": "59.5s",
        },
    ),
    ("none", {}, {}),
]


@pytest.mark.parametrize(
    ("form", "others", "expected"), FORMS, ids=[f"{form} {others}" for form, others, _ in FORMS]
)
def test_limits_are_told_in_many_forms(form: str, others: dict[str, Any], expected: dict[str, str]) -> None:
    """The same account after one call of 400 tokens half a second ago, as each provider words it."""
    rule = {"rpm": 10, "tpm": 1000, "headers": form, **others}
    limits = ModelLimits(Limits.model_validate(rule))
    assert limits.admit(0, 400) is None
    assert expected == limits.headers(0.5, WALL)


@pytest.mark.parametrize(
    ("form", "name", "pattern"),
    [
        ("openai", "x-ratelimit-reset-requests", r"1m0s|59(\.\d+)?s"),
        ("seconds", "x-ratelimit-reset-requests", r"60|59(\.\d+)?"),
        ("anthropic", "anthropic-ratelimit-requests-reset", r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
        ("cerebras", "x-ratelimit-remaining-tokens-minute", r"9\d\d\d"),
        ("azure", "x-ratelimit-renewalperiod-tokens", "60"),
        ("groq", "x-ratelimit-limit-tokens", "10000"),
        ("openrouter", "X-RateLimit-Reset", r"\d{13}"),
        ("ietf", "RateLimit", r'"requests-60s";r=2;t=60, "tokens-60s";r=\d+;t=60'),
        ("litellm", "llm_provider-x-ratelimit-limit-requests", "3"),
    ],
)
def test_each_form_arrives(form: str, name: str, pattern: str) -> None:
    """The headers of an answer on a socket are in the form asked for, and in no other."""

    async def scene(running: Running) -> None:
        headers = (await ask(running.base_url)).headers
        assert re.fullmatch(pattern, headers[name])
        assert ("x-ratelimit-limit-requests" in headers) == (form in ("openai", "seconds", "azure"))

    play(scene, limits={"rpm": 3, "tpm": 10_000, "headers": form})


def test_limits_may_be_kept_silent() -> None:
    """`none`: the limits hold, and only the refusal shows them."""

    async def scene(running: Running) -> None:
        first, second = await ask(running.base_url), await ask(running.base_url)
        assert (first.status, second.status) == (200, 429)
        assert not [name for answer in (first, second) for name in answer.headers if "ratelimit" in name]

    play(scene, limits={"rpm": 1, "headers": "none"})


HINTS: dict[str, tuple[set[str], bool]] = {
    "header": ({"retry-after", "retry-after-ms"}, True),
    "date": ({"retry-after"}, True),
    "ms": ({"retry-after-ms"}, True),
    "message": (set(), True),
    "none": (set(), False),
}


@pytest.mark.parametrize(("form", "headers", "spoken"), [(form, *told) for form, told in HINTS.items()])
def test_a_refusal_says_when_to_come_back(tmp_path: Path, form: str, headers: set[str], spoken: bool) -> None:
    """As headers, as a date, in words, or not at all; the ledger has what was told."""

    async def scene(running: Running) -> None:
        await ask(running.base_url)
        refused = await ask(running.base_url)
        assert refused.status == 429
        assert {name for name in refused.headers if name.startswith("retry-after")} == headers
        assert ("try again in" in refused.error["message"]) == spoken
        if form == "date":
            wait = parsedate_to_datetime(refused.headers["retry-after"]).timestamp() - time.time()
            assert 58 < wait <= 61

    calls = play(scene, tmp_path / "ledger.jsonl", limits={"rpm": 1, "retry_after": form})
    answer = calls[1].answer
    assert answer is not None
    assert (answer.retry_after is None) == (form == "none")


def test_a_gateway_passes_the_wait_on_under_another_name() -> None:
    """Behind LiteLLM the plain retry-after is gone."""

    async def scene(running: Running) -> None:
        await ask(running.base_url)
        headers = (await ask(running.base_url)).headers
        assert 58 <= int(headers["llm_provider-retry-after"]) <= 60
        assert "retry-after" not in headers

    play(scene, limits={"rpm": 1, "headers": "litellm"})


def test_too_many_at_once_may_say_so_in_words() -> None:
    """Where nothing queues, the hint takes the form that is asked for as well."""

    async def scene(running: Running) -> None:
        answers = await asyncio.gather(*(ask(running.base_url) for _ in range(2)))
        refused = max(answers, key=lambda answer: answer.status)
        assert refused.error["message"].endswith("Please try again in 1.000s.")
        assert "retry-after" not in refused.headers

    late = {"kind": "constant", "seconds": 0.1}
    play(scene, limits={"concurrency": 1, "queue": False, "retry_after": "message"}, latency=late)


def test_a_bucket_fills_all_the_time() -> None:
    """With two requests a second the third fits after 0.5 s, when a sliding window is still shut."""

    async def scene(running: Running) -> None:
        first = await ask(running.base_url)
        assert 0 < float(first.headers["x-ratelimit-reset-requests"]) <= 0.5
        second, third = await ask(running.base_url), await ask(running.base_url)
        assert (second.status, third.status) == (200, 429)
        wait = int(third.headers["retry-after-ms"]) / 1000
        assert 0 < wait <= 0.5
        await asyncio.sleep(wait)
        assert (await ask(running.base_url)).status == 200

    play(scene, limits={"rpm": 2, "window": 1, "kind": "bucket", "headers": "seconds"})


def test_a_limit_may_fall_in_the_middle() -> None:
    """Steps begin so many seconds after the first call, and headers tell of the one that holds."""

    async def scene(running: Running) -> None:
        await asyncio.sleep(0.15)
        before = await ask(running.base_url)
        await asyncio.sleep(0.25)
        after = await ask(running.base_url, body(max_tokens=50))
        assert [a.headers["x-ratelimit-limit-requests"] for a in (before, after)] == ["9", "1"]
        assert [a.headers["x-ratelimit-limit-tokens"] for a in (before, after)] == ["900", "900"]
        assert (before.status, after.status) == (200, 429)

    play(scene, limits={"rpm": [{"at": 0, "rpm": 9}, {"at": 0.2, "rpm": 1}], "tpm": 900})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rpm": 0}, "greater than or equal to 1"),
        ({"rpm": []}, "steps of rpm must start with at: 0"),
        ({"tpm": [{"at": 1, "tpm": 5}]}, "steps of tpm must start with at: 0"),
        (
            {"concurrency": [{"at": 0, "concurrency": 5}, {"at": 0, "concurrency": 6}]},
            "in the order of time",
        ),
        ({"rpm": [{"at": 0, "tpm": 5}]}, "rpm.steps.0.rpm"),
        ({"headers": "cerebras", "window": 10}, "window must be one of 1, 60, 3600, 86400"),
        ({"headers": "unknown"}, "'openai', 'seconds'"),
        ({"kind": "leaky"}, "'sliding' or 'bucket'"),
    ],
)
def test_wrong_limits_are_refused(wrong: dict[str, Any], message: str) -> None:
    """With the name of what is wrong."""
    with pytest.raises(ValidationError, match=message):
        Limits.model_validate(wrong)
