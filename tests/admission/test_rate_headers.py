"""Rate limit headers, in every form that endpoints are known to use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.limits.headers import _KNOWN, _MOST_KNOWN, Stated, read_rate_headers

NOW = 1_790_000_000.0
"""2026-09-21T14:13:20Z"""

FORMS: list[tuple[str, dict[str, str], list[Stated]]] = [
    (
        "OpenAI",
        {
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-remaining-requests": "499",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-limit-tokens": "30000",
            "x-ratelimit-remaining-tokens": "29000",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        [Stated("requests", 500, 499, 0.12, None), Stated("tokens", 30000, 29000, 360.0, None)],
    ),
    (
        "Cerebras",
        {
            "x-ratelimit-limit-requests-day": "14400",
            "x-ratelimit-remaining-requests-day": "14399",
            "x-ratelimit-reset-requests-day": "33011.382",
            "x-ratelimit-limit-tokens-minute": "60000",
            "x-ratelimit-remaining-tokens-minute": "59000",
            "x-ratelimit-reset-tokens-minute": "11.38",
        },
        [
            Stated("requests", 14400, 14399, 33011.382, 86400.0),
            Stated("tokens", 60000, 59000, 11.38, 60.0),
        ],
    ),
    (
        "Groq",
        {
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-remaining-requests": "14370",
            "x-ratelimit-reset-requests": "2m59.56s",
        },
        [Stated("requests", 14400, 14370, 179.56, None)],
    ),
    (
        "Anthropic",
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": "2026-09-21T14:13:21Z",
            "anthropic-ratelimit-input-tokens-limit": "50000",
            "anthropic-ratelimit-input-tokens-remaining": "50000",
            "anthropic-ratelimit-input-tokens-reset": "2026-09-21T14:13:20Z",
            "anthropic-ratelimit-output-tokens-limit": "8000",
            "anthropic-ratelimit-output-tokens-remaining": "7000",
            "anthropic-ratelimit-output-tokens-reset": "2026-09-21T16:14:20+02:00",
        },
        [
            Stated("requests", 50, 49, 1.0, None),
            Stated("input-tokens", 50000, 50000, 0.0, None),
            Stated("output-tokens", 8000, 7000, 60.0, None),
        ],
    ),
    (
        "OpenRouter",
        {
            "x-ratelimit-limit": "20",
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": "1790000030000",
        },
        [Stated("requests", 20, 0, 30.0, None)],
    ),
    (
        "epoch seconds",
        {"x-ratelimit-remaining": "7", "x-ratelimit-reset": "1790000030"},
        [Stated("requests", None, 7, 30.0, None)],
    ),
    (
        "Together",
        {
            "x-ratelimit-limit": "60",
            "x-ratelimit-remaining": "59",
            "x-ratelimit-reset": "0.5",
            "x-tokenlimit-limit": "2000",
            "x-tokenlimit-remaining": "1000",
        },
        [Stated("requests", 60, 59, 0.5, None), Stated("tokens", 2000, 1000, None, None)],
    ),
    (
        "Mistral",
        {
            "x-ratelimitbysize-limit-minute": "500000",
            "x-ratelimitbysize-remaining-minute": "499000",
            "x-ratelimitbysize-limit-month": "1000000000",
            "x-ratelimitbysize-remaining-month": "999000000",
        },
        [
            Stated("tokens", 500000, 499000, None, 60.0),
            Stated("tokens", 1000000000, 999000000, None, 2592000.0),
        ],
    ),
    (
        "Azure",
        {
            "x-ratelimit-limit-requests": "120",
            "x-ratelimit-remaining-requests": "19",
            "x-ratelimit-renewalperiod-requests": "10",
            "x-ratelimit-reset-requests": "3",
        },
        [Stated("requests", 120, 19, 3.0, 10.0)],
    ),
    (
        "the draft's fields",
        {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "50", "ratelimit-reset": "30"},
        [Stated("requests", 100, 50, 30.0, 60.0)],
    ),
    (
        "the draft's lists",
        {
            "ratelimit-policy": '"burst";q=100;w=60, "daily";q=1000;w=86400;qu="tokens"',
            "ratelimit": '"burst";r=50;t=30, "daily";r=900;t=4000',
        },
        [Stated("requests", 100, 50, 30.0, 60.0), Stated("tokens", 1000, 900, 4000.0, 86400.0)],
    ),
    (
        "LiteLLM",
        {"llm_provider-x-ratelimit-limit-tokens": "9", "llm_provider-x-ratelimit-reset-tokens": "1h2m3.5s"},
        [Stated("tokens", 9, None, 3723.5, None)],
    ),
    (
        "LiteLLM's own first",
        {"x-ratelimit-limit-tokens": "5", "llm_provider-x-ratelimit-limit-tokens": "9"},
        [Stated("tokens", 5, None, None, None)],
    ),
    (
        "an HTTP date",
        {"x-ratelimit-remaining": "7", "x-ratelimit-reset": "Mon, 21 Sep 2026 14:13:50 GMT"},
        [Stated("requests", None, 7, 30.0, None)],
    ),
]


@pytest.mark.parametrize(("headers", "stated"), [f[1:] for f in FORMS], ids=[f[0] for f in FORMS])
def test_forms(headers: dict[str, str], stated: list[Stated]) -> None:
    """Each provider's form gives limit, remaining, seconds to the reset, and the window where it is named."""
    found = read_rate_headers(headers, NOW)
    assert found is not None
    assert len(found) == len(stated)
    for one, other in zip(found, stated, strict=True):
        assert one.reset == pytest.approx(other.reset)
        assert replace(one, reset=other.reset) == other


@pytest.mark.parametrize(
    "value", ["-1", "nan", "inf", "1e400", "", " ", "5, 5", "soon", "0x10", "1h-2m", "٣"]
)
def test_nonsense_counts_as_absent(value: str) -> None:
    """A value that is no number, duration or date says nothing; alone, the headers say nothing."""
    for word in ("limit", "remaining", "reset"):
        assert read_rate_headers({f"x-ratelimit-{word}-requests": value}, NOW) is None
    found = read_rate_headers({"x-ratelimit-limit-requests": "5", "x-ratelimit-reset-requests": value}, NOW)
    assert found == (Stated("requests", 5, None, None, None),)


def test_other_headers_say_nothing() -> None:
    """Without any of the families there is no account."""
    assert read_rate_headers({"content-type": "application/json", "x-request-id": "1"}, NOW) is None


def test_what_is_remembered_of_names_is_bounded_and_holds_no_value() -> None:
    """Servers that name other headers in every answer fill no memory; values are never remembered."""
    for number in range(1000):
        headers = {f"x-trace-{number}": "1", "x-ratelimit-remaining-requests": str(number)}
        assert read_rate_headers(headers, NOW) == (Stated("requests", None, number, None, None),)
        assert len(_KNOWN) <= _MOST_KNOWN
    for left in ("7", "6"):
        found = read_rate_headers({"x-ratelimit-remaining-requests": left}, NOW)
        assert found == (Stated("requests", None, int(left), None, None),)


NAMES = st.sampled_from(sorted({name for _, headers, _ in FORMS for name in headers}))
VALUES = st.text(max_size=30) | st.from_regex(r"[0-9.hmse;=,\-:TZ \"wqrt]{1,24}", fullmatch=True)


@given(st.dictionaries(NAMES, VALUES, max_size=6), st.floats(0, 4e9))
def test_no_value_raises(headers: dict[str, str], now: float) -> None:
    """Whatever stands in the headers: counts are not negative, and resets neither, nor infinite."""
    for stated in read_rate_headers(headers, now) or ():
        assert stated.limit is None or stated.limit > 0
        assert stated.remaining is None or stated.remaining >= 0
        assert stated.reset is None or 0 <= stated.reset < float("inf")
