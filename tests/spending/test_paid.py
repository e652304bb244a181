"""What an answer took of the budget, and what it cost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from batchrun.budget import Amounts
from batchrun.job.sections.spending import PriceSpec
from batchrun.outcome import Exchange, NoResponse, Response
from batchrun.policy.judge import judge
from batchrun.prices import Price
from batchrun.prices.table import find_price
from batchrun.spending.paid import cost_of, may_be_stored, paid, taken

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
BOUND = Amounts(1.0, 5_000, 1)


def price(model: str | None = None, url: str = "https://api.openai.com/v1") -> Price:
    given = None if model else PriceSpec.model_validate({"input": 3, "output": 15})
    found = find_price(model or "any", base_urls=[url], given=given, now=NOW)
    assert found is not None
    return found


def answer(usage: Any = None, status: int = 200, **members: Any) -> Response:
    document = {"choices": [{"message": {"content": "yes"}}], "usage": usage, **members}
    return Response(status, {}, json.dumps(document).encode(), 0.1)


USED = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}


@pytest.mark.parametrize(
    ("exchange", "took"),
    [
        (answer(USED), Amounts(0.0045, 1_100, 1)),
        (answer({"prompt_tokens": 1_000, "completion_tokens": 100}), Amounts(0.0045, 1_100, 1)),
        (answer({**USED, "cost": 0.25}), Amounts(0.25, 1_100, 1)),
        (answer({**USED, "cost": 0}), Amounts(0.0, 1_100, 1)),
        (answer(USED, choices=[]), Amounts(0.0045, 1_100, 1)),
        (answer(), BOUND),
        (answer({"completion_tokens": 3}), BOUND),
        (answer({**USED, "cost": -5}), BOUND),
        (answer({"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": -9_000}), BOUND),
        (answer({"prompt_tokens": -9_000, "completion_tokens": 5, "total_tokens": 7}), BOUND),
        (answer(USED, status=500), Amounts(requests=1)),
        (answer(USED, status=504), BOUND),
        (NoResponse("timeout", "silent", True, 9.0), BOUND),
        (NoResponse("connection", "refused", False, 0.1), Amounts()),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_a_call_took(exchange: Exchange, took: Amounts) -> None:
    """What is known, its bound where nothing is, and never less than nothing."""
    assert taken(paid(judge(exchange), price(), NOW), BOUND) == took


@pytest.mark.parametrize(
    ("exchange", "may"),
    [
        (answer(), False),
        (answer(USED, choices=[]), False),
        (answer(choices=[]), True),
        (Response(200, {}, b'{"choices": [{"mess', 0.1), True),
        (Response(200, {}, b'{"error": {"code": 502, "message": "overloaded"}}', 0.1), False),
        (Response(429, {}, b"{}", 0.1), False),
        (Response(500, {}, b"{}", 0.1), False),
        (Response(408, {}, b"{}", 0.1), True),
        (Response(524, {}, b"<html>", 0.1), True),
        (NoResponse("timeout", "silent", True, 9.0), True),
        (NoResponse("connection", "refused", False, 0.1), False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_which_calls_may_have_been_answered_out_of_sight(exchange: Exchange, may: bool) -> None:
    """Those that were sent and brought no whole answer, unless the server itself said what went wrong."""
    assert may_be_stored(judge(exchange)) is may


def test_without_a_price_the_tokens_count() -> None:
    """The cost stays at its bound."""
    assert taken(paid(judge(answer(USED)), None, NOW), BOUND) == Amounts(1.0, 1_100, 1)


def test_the_tier_that_answered_decides() -> None:
    """OpenAI bills flex at half the price; a tier without a known price is held at the bound."""
    known = price("gpt-5")
    costs = {
        tier: cost_of(judge(answer(USED, service_tier=tier)), known, NOW)
        for tier in ("default", "flex", "unheard-of")
    }
    assert costs["default"] == pytest.approx((1_000 * 1.25 + 100 * 10) / 1e6)
    assert costs["flex"] == pytest.approx((costs["default"] or 0) / 2)
    assert costs["unheard-of"] is None
    odd = judge(answer(USED, service_tier="unheard-of"))
    assert taken(paid(odd, known, NOW), BOUND) == BOUND
    empty = judge(answer(USED, service_tier="flex", choices=[]))
    assert cost_of(empty, known, NOW) == costs["flex"], "also where there is no answer in it"


@pytest.mark.parametrize(
    "usage",
    [
        {**USED, "prompt_tokens": 2_000, "prompt_tokens_details": {"cache_write_tokens": 500}},
        {"input_tokens": 1_500, "cache_creation_input_tokens": 500, "output_tokens": 100},
    ],
    ids=["OpenAI", "Anthropic"],
)
def test_what_was_written_to_the_cache_is_read_from_the_answer(usage: dict[str, Any]) -> None:
    """500 of the 2,000 tokens at a quarter more, and none more; without a word of it all could be."""
    known = price("claude-sonnet-4-5", "https://api.anthropic.com/v1")
    cost = cost_of(judge(answer({**usage, "total_tokens": 2_100})), known, NOW)
    assert cost == pytest.approx((1_500 * 3.0 + 500 * 3.75 + 100 * 15.0) / 1e6)


def test_prices_by_the_hour_are_those_of_the_moment_it_was_sent() -> None:
    """DeepSeek's night is cheaper, in the time when it was."""
    known = price("deepseek-chat", "https://api.deepseek.com/v1")
    night = datetime(2025, 5, 1, 20, tzinfo=UTC).timestamp()
    noon = datetime(2025, 5, 1, 12, tzinfo=UTC).timestamp()
    judged = judge(answer(USED))
    costs = [cost_of(judged, known, at) for at in (night, noon)]
    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[0] < costs[1]
