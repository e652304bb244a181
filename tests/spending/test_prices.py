"""What calls cost: which price is found, the arithmetic on usage, and upper bounds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    StartDateConstraint,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.job.sections.spending import PriceSpec
from batchrun.outcome import Usage
from batchrun.prices import Price
from batchrun.prices.table import _price, find_price
from batchrun.spending.bounds import no_upper_bound, output_bound, prompt_bound

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
OPENAI = "https://api.openai.com/v1"
GROQ = "https://api.groq.com/openai/v1"
DEEPSEEK = "https://api.deepseek.com/v1"
GOOGLE = "https://generativelanguage.googleapis.com/v1beta/openai"
OPENROUTER = "https://openrouter.ai/api/v1"


def price(model: str, url: str = OPENAI, **given: float) -> Price:
    spec = PriceSpec.model_validate(given) if given else None
    found = find_price(model, base_urls=[url], given=spec, now=NOW)
    assert found is not None
    return found


def usage(prompt: int, completion: int, **further: int) -> Usage:
    return Usage(prompt, completion, prompt + completion, **further)


def model_info(name: str, prices: list[ConditionalPrice]) -> ModelInfo:
    return ModelInfo(id=name, match=ClauseEquals(name), prices=prices)


def table_price(model: ModelInfo, now: float) -> Price:
    found = _price(model, get_snapshot().providers[0], "https://api.example.com", now)
    assert found is not None
    return found


# model and endpoint, or the job's price; usage; tier; USD: written out as tokens x price
HAND_COMPUTED: list[tuple[Price, Usage, str | None, float | None]] = [
    (price("gpt-4.1-mini"), usage(1000, 100), None, (1000 * 0.4 + 100 * 1.6) / 1e6),
    # cached tokens are part of the prompt's, reasoning is part of the answer's
    (price("gpt-4.1-mini"), usage(1000, 100, cached_tokens=400), None, (600 * 0.4 + 400 * 0.1 + 160) / 1e6),
    (price("gpt-4.1-mini"), usage(1000, 100, reasoning_tokens=90), None, (400 + 160) / 1e6),
    # predictions that were rejected are part of the answer's, too
    (price("gpt-4.1-mini"), usage(1000, 100, rejected_prediction_tokens=40), None, 560 / 1e6),
    # recordings and speech are parts, at prices of their own
    (
        price("gpt-audio"),
        usage(1000, 100, prompt_audio_tokens=700, completion_audio_tokens=80),
        None,
        (300 * 2.5 + 700 * 32 + 20 * 10 + 80 * 64) / 1e6,
    ),
    # a provider that counts more cached tokens than the prompt has
    (price("gpt-4.1-mini"), usage(100, 10, cached_tokens=400), None, (100 * 0.1 + 16) / 1e6),
    # an answer whose reasoning is in the total only (xAI, Gemini)
    (price("gpt-4.1-mini"), Usage(32, 9, 135, reasoning_tokens=94), None, (32 * 0.4 + 103 * 1.6) / 1e6),
    # tiers
    (price("gpt-5"), usage(1000, 100), "default", (1000 * 1.25 + 100 * 10) / 1e6),
    (price("gpt-5"), usage(1000, 100), "flex", (1000 * 0.625 + 100 * 5) / 1e6),
    (price("gpt-5"), usage(1000, 100), "priority", (1000 * 2.5 + 100 * 20) / 1e6),
    (price("gpt-5"), usage(1000, 100), "batch", (1000 * 0.625 + 100 * 5) / 1e6),
    (price("gpt-4.1-mini"), usage(1000, 100), "priority", (1000 * 0.7 + 100 * 2.8) / 1e6),
    (price("gpt-4.1-mini"), usage(1000, 100), "flex", 560 / 1e6),  # no lower price known: never too little
    (price("gpt-4.1-mini"), usage(1000, 100), "turbo", None),  # a tier that nobody knows
    # prompts above 272,000 tokens pay more for every token
    (price("gpt-5.4"), usage(272_000, 10), None, (272_000 * 2.5 + 10 * 15) / 1e6),
    (price("gpt-5.4"), usage(272_001, 10), None, (272_001 * 5 + 10 * 22.5) / 1e6),
    # a tier with one flat rate, for a prompt for which standard processing has a higher one
    (price("gpt-5.5-pro"), usage(272_000, 10), "flex", (272_000 * 15 + 10 * 90) / 1e6),
    (price("gpt-5.5-pro"), usage(272_001, 10), "flex", (272_001 * 60 + 10 * 270) / 1e6),
    # writing to the cache costs a quarter more; below 1,024 tokens there is no cache
    (price("gpt-6-luna"), usage(1000, 10), None, (1000 * 0.1 + 10 * 0.5) / 1e6),
    (price("gpt-6-luna"), usage(2000, 10, cached_tokens=1024), None, (976 * 0.125 + 10.24 + 5) / 1e6),
    # the job's own
    (price("x", input=1, output=2), usage(10, 5, cached_tokens=4), "priority", 20 / 1e6),
    (price("x", input=1, output=2, cached=0.5), usage(10, 5, cached_tokens=4), None, 18 / 1e6),
    (price("x", input=1, output=2, request=1000), usage(10, 5), None, 20 / 1e6 + 0.001),
    (price("x", input=1, output=2, input_audio=9), usage(10, 5, prompt_audio_tokens=4), None, 52 / 1e6),
    (price("x", input=1, output=2, output_audio=9), usage(10, 5, completion_audio_tokens=4), None, 48 / 1e6),
    # audio that the job does not price costs what text does, cached audio what cached text does
    (
        price("x", input=1, output=2, cached=0.5),
        usage(10, 5, cached_tokens=4, prompt_audio_tokens=10, completion_audio_tokens=5),
        None,
        18 / 1e6,
    ),
    (price("x", input=0, output=0), usage(10, 5), None, 0.0),
    # a list that has no rate for audio: many times that of text, but nothing says how many
    (price("gpt-4o-audio-preview"), usage(10, 5), None, (10 * 2.5 + 5 * 10) / 1e6),
    (price("gpt-4o-audio-preview"), usage(10, 5, completion_audio_tokens=0), None, 75 / 1e6),
    (price("gpt-4o-audio-preview"), usage(10, 5, completion_audio_tokens=1), None, None),
    (price("gpt-4o-audio-preview"), usage(10, 5, prompt_audio_tokens=1), None, None),
    (price("gpt-4o-mini-audio-preview"), usage(10, 5, completion_audio_tokens=5), None, None),
    (price("gpt-5"), usage(10, 5, prompt_audio_tokens=1), None, None),
    # one that prices spoken answers at both ends
    (price("gpt-realtime"), usage(10, 5, completion_audio_tokens=5), None, (10 * 4 + 5 * 64) / 1e6),
    # a provider's batch: half of it all, whatever tier the answer names
    (price("gpt-5").in_batch, usage(1000, 100), None, (1000 * 0.625 + 100 * 5) / 1e6),
    (price("gpt-5").in_batch, usage(1000, 100), "default", (1000 * 0.625 + 100 * 5) / 1e6),
    (price("gpt-5").in_batch, usage(1000, 100), "priority", (1000 * 0.625 + 100 * 5) / 1e6),
    (price("gpt-5").in_batch, usage(1000, 100), "turbo", (1000 * 0.625 + 100 * 5) / 1e6),
    (price("gpt-5.4").in_batch, usage(272_001, 10), None, (272_001 * 2.5 + 10 * 11.25) / 1e6),
    # a list without a price for batches: what a call of its own costs
    (price("gpt-audio").in_batch, usage(1000, 100), None, (1000 * 2.5 + 100 * 10) / 1e6),
    (price("gpt-audio").in_batch, usage(1000, 100), "turbo", None),
    # the job's own: half where it does not say, and as it says
    (price("x", input=1, output=2).in_batch, usage(10, 5), "priority", 10 / 1e6),
    (price("x", input=1, output=2, batch=1).in_batch, usage(10, 5), None, 20 / 1e6),
    (price("x", input=1, output=2, batch=0.1).in_batch, usage(10, 5), None, 2 / 1e6),
    (
        price("x", input=1, output=2, input_audio=9, output_audio=8, request=1000).in_batch,
        usage(10, 5, prompt_audio_tokens=3, completion_audio_tokens=5),
        None,
        (7 * 1 + 3 * 9 + 5 * 8) / 2e6 + 0.0005,
    ),
    (price("x", input=1, output=2, cached=0.5).in_batch, usage(10, 5, cached_tokens=4), None, 9 / 1e6),
    # an answer that names the tier of batches, to a call of its own that the job prices
    (price("x", input=1, output=2, batch=0.1), usage(10, 5), "batch", 20 / 1e6),
    # usage that does not say enough
    (price("gpt-5"), Usage(), None, None),
    (price("gpt-5"), Usage(prompt_tokens=3), None, None),
    (price("gpt-5"), Usage(total_tokens=3), None, None),
]


@pytest.mark.parametrize(("known", "used", "tier", "usd"), HAND_COMPUTED)
def test_a_call_costs_what_a_calculator_says(
    known: Price, used: Usage, tier: str | None, usd: float | None
) -> None:
    """Each token once, at the rate of its kind, its tier and the prompt's length."""
    assert known.cost(used, service_tier=tier, at=NOW) == (None if usd is None else pytest.approx(usd, 1e-9))


def test_what_was_written_to_the_cache_is_taken_from_the_answer_where_it_says() -> None:
    """Else all of the prompt that was not read from it: a budget never counts too little."""
    known, used = price("gpt-6-luna"), usage(2000, 0)
    assert known.cost(used, cache_write_tokens=1500) == pytest.approx((500 * 0.1 + 1500 * 0.125) / 1e6)
    assert known.cost(used, cache_write_tokens=0) == pytest.approx(2000 * 0.1 / 1e6)
    assert known.cost(used) == pytest.approx(2000 * 0.125 / 1e6)


def test_cached_tokens_that_may_be_audio_cost_the_dearer_way() -> None:
    """`cached_tokens` does not say how many were audio, and audio that is not cached costs ten times more."""
    known = price("x", input=1, output=0, cached=0.1, input_audio=10)
    used = usage(100, 0, prompt_audio_tokens=60, cached_tokens=50)
    assert known.cost(used) == pytest.approx((60 * 10 + 40 * 1) / 1e6)
    known = price("gpt-realtime")  # here it costs eighty times more: as few as can be were audio
    assert known.cost(used) == pytest.approx((50 * 32 + 10 * 0.4 + 40 * 0.4) / 1e6)


def comparable() -> Iterator[tuple[str, str, str]]:
    """Every model of three providers that prices text."""
    urls = {"openai": OPENAI, "groq": GROQ, "mistral": "https://api.mistral.ai/v1"}
    for provider in get_snapshot().providers:
        if provider.id in urls:
            yield from ((provider.id, urls[provider.id], model.id) for model in provider.models)


def test_all_models_cost_what_genai_prices_says() -> None:
    """Where its own arithmetic is sound, ours comes to the same cost, whatever the tier, for 200 models."""
    compared = 0
    for provider, url, model in comparable():
        known = find_price(model, base_urls=[url], now=NOW)
        if known is None:
            continue
        for prompt in (900, 300_000):
            for tier in (None, "flex", "priority", "batch"):
                if not known.knows(tier):
                    continue
                ours = known.cost(
                    usage(prompt, 77, cached_tokens=500), service_tier=tier, cache_write_tokens=30, at=NOW
                )
                context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier or "default"}
                theirs = genai_prices.calc_price(
                    genai_prices.Usage(
                        input_tokens=prompt, output_tokens=77, cache_read_tokens=500, cache_write_tokens=30
                    ),
                    model,
                    provider_id=provider,
                    genai_request_timestamp=datetime.fromtimestamp(NOW, UTC),
                    price_context=context,
                ).total_price
                assert ours is not None
                compared += 1
                if prompt > 200_000 and tier is not None:
                    assert ours >= float(theirs) * (1 - 1e-9)  # flat rates of a tier are not trusted there
                else:
                    assert ours == pytest.approx(float(theirs), 1e-6), (model, tier, prompt)
    assert compared > 800


@pytest.mark.parametrize(
    ("model", "url", "found"),
    [
        ("gpt-4.1-mini", OPENAI, "openai/gpt-4.1-mini"),
        ("gpt-4.1-mini-2025-04-14", OPENAI, "openai/gpt-4.1-mini"),
        ("gpt-4.1-mini", "https://API.OpenAI.com:443/v1/", "openai/gpt-4.1-mini"),
        ("openai/gpt-oss-120b", GROQ, "groq/openai/gpt-oss-120b"),
        ("openai/gpt-4.1-mini", OPENROUTER, "openrouter/openai/gpt-4.1-mini"),
        ("openai/gpt-oss-120b", "https://api.together.xyz/v1", "together/openai/gpt-oss-120b"),
        ("openai/gpt-oss-120b", "https://api.together.ai/v1", "together/openai/gpt-oss-120b"),
        ("gpt-4.1-mini", "https://res.openai.azure.com/openai/v1", "azure/gpt-4.1-mini"),
        ("gpt-4o-audio-preview-2024-12-17", OPENAI, "openai/gpt-4o-audio-preview"),
        ("gpt-5-image", OPENAI, None),  # usage does not tell an image's tokens from the text's
        ("gpt-image-1", OPENAI, None),
        ("chatgpt-image-latest", OPENAI, None),
        ("gemini-2.5-flash-image", GOOGLE, None),
        ("gemini-omni-1.1-flash", GOOGLE, None),  # videos, by the list's own rate for them
        ("gemini-2.5-flash", GOOGLE, "google/gemini-2.5-flash"),
        ("google/gemini-2.5-flash-image", OPENROUTER, None),
        ("gpt-4.1-mini-turbo", OPENAI, None),
        ("my-gpt-4o", OPENAI, None),
        ("gpt-99", OPENAI, None),
        ("gpt-4o-search-preview", OPENAI, None),  # each search has a fee that usage does not show
        ("ft:gpt-4.1-mini-2025-04-14:org::abc", OPENAI, None),
        ("openai/gpt-4.1-mini:online", OPENROUTER, None),
        ("perplexity/sonar", OPENROUTER, None),
        ("text-embedding-3-small", OPENAI, None),
        ("gpt-4.1-mini", "http://localhost:8000/v1", None),
        ("gpt-4.1-mini", "http://127.0.0.1:8000/v1", None),
        ("gpt-4.1-mini", "https://api.openai.com.example.com/v1", None),
        ("gpt-4.1-mini", "https://api.openai.com:8443/v1", None),
        ("gpt-4.1-mini", "https://proxy.example.com/api.openai.com/v1", None),
        ("gemini-2.5-flash", "https://example.com/x.googleapis.com", None),
        ("openai/gpt-4.1-mini", "https://api.lunos.tech/v1", None),
        ("tzafon.sm-1", "https://api.tzafon.ai/v1", None),
        ("openai/gpt-oss-120b", "https://me--serve.modal.run/v1", None),  # a machine of one's own
        ("gpt-4.1-mini", "https://[half", None),
        ("gpt-4.1-mini", None, None),
    ],
)
def test_a_price_is_known_only_where_provider_and_model_are(
    model: str, url: str | None, found: str | None
) -> None:
    """By the URL's host and the exact model; never another provider's price, never a similar name's."""
    known = find_price(model, base_urls=[url], now=NOW)
    assert (known.model if known else None) == found


def test_replicas_have_a_price_when_all_are_of_one_provider() -> None:
    """The same host twice is one price; a second provider, or none, is none."""
    assert find_price("gpt-5", base_urls=[OPENAI, OPENAI], now=NOW) is not None
    assert find_price("gpt-5", base_urls=[OPENAI, GROQ], now=NOW) is None
    assert find_price("gpt-5", base_urls=[], now=NOW) is None


def test_the_jobs_price_wins() -> None:
    """It replaces what is known, also at an endpoint that has no price."""
    for url in (OPENAI, "http://localhost:8000/v1"):
        known = price("gpt-5", url, input=1, output=2, cached=0.5)
        assert known.document() == {"input": 1, "cached": 0.5, "output": 2, "source": "job", "model": "gpt-5"}
    table = {"input": 1.25, "cached": 0.125, "output": 10, "source": "genai-prices", "model": "openai/gpt-5"}
    assert price("gpt-5").document() == table


def test_prices_by_the_hour_are_those_of_the_call() -> None:
    """DeepSeek doubles its price between 6 and 10 UTC; without the time the dearer one is taken."""
    known, used = price("deepseek-v4-pro", DEEPSEEK), usage(1000, 0)
    night, peak = NOW, NOW - 4 * 3600
    assert known.cost(used, at=peak) == pytest.approx(1000 * 1.32 / 1e6)
    assert known.cost(used, at=night) == pytest.approx(1000 * 0.66 / 1e6)
    assert known.cost(used) == known.cost(used, at=peak) == known.bound(1000, 0)
    assert known.document()["input"] == 1.32


def test_prices_that_have_ended_hold_for_calls_of_their_time_only() -> None:
    """OpenAI cut the price of GPT-5.6 Luna by 80% on 2026-07-30; a bound ahead knows only the new one."""
    known, used = price("gpt-5.6-luna"), usage(1000, 0)
    july = datetime(2026, 7, 20, tzinfo=UTC).timestamp()
    assert known.cost(used, at=NOW) == pytest.approx(1000 * 0.2 / 1e6)
    assert known.cost(used, at=july) == pytest.approx(1000 * 1.0 / 1e6)
    assert known.bound(1000, 0) < 1000 * 1.0 / 1e6


def test_a_price_that_begins_later_counts_ahead() -> None:
    """A bound holds when the run passes the day on which a dearer price begins."""
    later = StartDateConstraint(datetime(2026, 11, 22, tzinfo=UTC).date())
    cheap, dear = (ModelPrice(input_mtok=Decimal(n), output_mtok=Decimal(n)) for n in (1, 3))
    for first in (None, later):  # where nothing has begun, the first entry holds
        entries = [ConditionalPrice(first, prices=cheap), ConditionalPrice(later, prices=dear)]
        known = table_price(model_info("new", entries), NOW)
        assert known.bound(1_000_000, 0) == 3
        assert known.cost(usage(1_000_000, 0), at=NOW) == 1
        assert known.cost(usage(1_000_000, 0), at=NOW + 86_400) == 3
    begun = StartDateConstraint(datetime(2026, 11, 21, tzinfo=UTC).date())
    entries = [ConditionalPrice(prices=dear), ConditionalPrice(begun, prices=cheap)]
    assert table_price(model_info("new", entries), NOW).bound(1_000_000, 0) == 1
    only = table_price(model_info("new", [ConditionalPrice(later, prices=dear)]), NOW)
    assert only.bound(1_000_000, 0) == 3


def test_the_bound_takes_the_dearest_tier_and_kind() -> None:
    """GPT-6 Luna: priority costs twice, cache writes a quarter more, prompts above 272,000 twice again."""
    known = price("gpt-6-luna")
    assert known.bound(1000, 10) == pytest.approx((1000 * 0.25 + 10 * 1.0) / 1e6)
    assert known.bound(272_001, 10) == pytest.approx((272_001 * 0.5 + 10 * 1.5) / 1e6)
    assert price("gpt-audio").bound(0, 10) == pytest.approx(10 * 64 / 1e6)  # the answer may be spoken


MODELS = [
    price("gpt-4.1-mini"),
    price("gpt-5.4"),
    price("gpt-6.1-terra"),
    price("gpt-audio"),
    price("gpt-4o-audio-preview"),
    price("x", input=1, output=2, cached=3, input_audio=4),
    price("deepseek-v4-pro", DEEPSEEK),
    price("anthropic/claude-sonnet-4.5", OPENROUTER),
    price("x", input=0.1, output=0.3, cached=0.2, output_audio=5, request=7),
]
MODELS += [known.in_batch for known in MODELS]
COUNT = st.one_of(st.integers(0, 5_000), st.integers(0, 2_000_000))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), known=st.sampled_from(MODELS), prompt=COUNT, output=COUNT)
def test_no_usage_within_a_bound_costs_more(data: Any, known: Price, prompt: int, output: int) -> None:
    """Whatever part is cached, written, reasoned or spoken, in any tier, at any time of the day."""
    used_prompt, used_output = data.draw(st.integers(0, prompt)), data.draw(st.integers(0, output))
    parts = st.one_of(st.none(), st.integers(0, prompt + output + 5))
    visible = data.draw(st.integers(0, used_output))
    used = Usage(
        used_prompt,
        visible,
        used_prompt + used_output,
        cached_tokens=data.draw(parts),
        reasoning_tokens=data.draw(parts),
        completion_audio_tokens=data.draw(parts),
    )
    cost = known.cost(
        used,
        service_tier=data.draw(st.sampled_from([None, "default", "flex", "priority", "fast", "batch"])),
        cache_write_tokens=data.draw(parts),
        at=data.draw(st.one_of(st.none(), st.floats(NOW, NOW + 86_400))),
    )
    assert cost is None or 0 <= cost <= known.bound(prompt, output)


AMOUNT = st.floats(0, 1e9)


@settings(max_examples=300, deadline=None)
@given(
    prices=st.fixed_dictionaries(
        {"input": AMOUNT, "output": AMOUNT},
        optional=dict.fromkeys(("cached", "input_audio", "output_audio", "request"), AMOUNT),
    ),
    share=st.floats(0, 1, exclude_min=True),
    parts=st.tuples(*[st.integers(0, 5_000)] * 5),
)
def test_a_given_price_is_never_dearer_in_a_batch(
    prices: dict[str, float], share: float, parts: tuple[int, ...]
) -> None:
    """Nor cheaper than the share that is given, by any rounding; and its bound holds."""
    given = PriceSpec.model_validate({**prices, "batch": share})
    known = find_price("x", base_urls=[], given=given, now=NOW)
    assert known is not None
    prompt, output, cached, heard, spoken = parts
    used = usage(
        prompt, output, cached_tokens=cached, prompt_audio_tokens=heard, completion_audio_tokens=spoken
    )
    alone, batch = known.cost(used), known.in_batch.cost(used, service_tier="priority")
    assert alone is not None
    assert batch is not None
    assert batch <= alone
    assert known.in_batch.bound(prompt, output) <= known.bound(prompt, output)
    text = known.in_batch.cost(usage(prompt, output))
    assert text is not None
    exact = (prompt * given.input + output * given.output + given.request) * share / 1e6
    assert exact * (1 - 1e-9) <= text <= known.in_batch.bound(prompt, output)


def test_the_bound_in_a_batch_is_the_batchs() -> None:
    """Half of the plain rates, where a call of its own may be asked for in a dearer tier."""
    known = price("gpt-6-luna")
    assert known.in_batch.bound(1000, 10) == pytest.approx((1000 * 0.0625 + 10 * 0.25) / 1e6)
    assert known.in_batch.bound(272_001, 10) == pytest.approx((272_001 * 0.125 + 10 * 0.375) / 1e6)
    own = price("x", input=1, output=2, request=1000)
    assert own.in_batch.bound(1000, 10) == pytest.approx(own.bound(1000, 10) / 2)
    assert own.in_batch.bound(0, 0) * 2 == own.bound(0, 0) > 0
    assert own.in_batch.in_batch == own.in_batch, "a batch's price is its own"


@pytest.mark.parametrize(
    ("known", "knows"),
    [
        (price("gpt-5"), True),
        (price("gemini-2.5-flash", GOOGLE), True),
        (price("gpt-audio"), False),
        (price("deepseek-v4-pro", DEEPSEEK), False),
        (price("gpt-audio", input=1, output=2), True),
    ],
)
def test_whether_a_batchs_price_is_known(known: Price, knows: bool) -> None:
    """By the list, or the job; without it a batch has the price of calls of their own."""
    assert known.knows_batch == known.in_batch.knows_batch == knows
    assert known.in_batch.knows("turbo") == knows, "in a batch there are no tiers"
    assert (known.in_batch.bound(1000, 10) < known.bound(1000, 10)) == knows


def test_a_batchs_price_that_begins_later_is_not_known_yet() -> None:
    """It is not counted on before its day."""
    standard, half = (ModelPrice(input_mtok=Decimal(n), output_mtok=Decimal(n)) for n in (2, 1))
    for day, usd in ((21, 1), (22, 2)):
        begins = StartDateConstraint(datetime(2026, 11, day, tzinfo=UTC).date())
        variant = PriceVariant({"processing": "batch"}, half, begins)
        model = ModelInfo(id="new", match=ClauseEquals("new"), prices=standard, price_variants=[variant])
        known = table_price(model, NOW)
        assert known.knows_batch == (usd == 1)
        assert known.in_batch.cost(usage(1_000_000, 0)) == usd


def test_no_list_makes_a_batch_dearer() -> None:
    """Of some 2,000 models at all providers: what is counted for a batch is at most a call's own price."""
    compared = 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            known = _price(model, provider, "https://api.example.com", NOW)
            for prompt in (900, 300_000) if known else ():
                assert known is not None
                alone, batch = (one.cost(usage(prompt, 77)) for one in (known, known.in_batch))
                assert (alone is None) == (batch is None)
                assert alone is None or batch is None or batch <= alone, (provider.id, model.id)
                assert known.in_batch.bound(prompt, 77) <= known.bound(prompt, 77)
                compared += 1
    assert compared > 3_000


def test_cached_tokens_save_what_they_cost_less() -> None:
    """Against the full input price, in the tier of the answer; nothing where caching is not cheaper."""
    used = usage(1000, 100, cached_tokens=400)
    assert price("gpt-4.1-mini").saved(used) == pytest.approx(400 * 0.3 / 1e6)
    assert price("x", input=1, output=1).saved(used) == 0
    assert price("x", input=1, output=1, cached=2).saved(used) == 0
    assert price("gpt-5").saved(replace(used, cached_tokens=None)) == 0


TEXT: dict[str, Any] = {
    "model": "gpt-5",
    "messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": [{"type": "text"}]}],
    "max_completion_tokens": 10,
}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"tools": [{"type": "function"}, {"type": "custom"}]}, None),
        ({"service_tier": "flex"}, None),
        ({"web_search_options": None, "plugins": []}, None),
        ({"modalities": ["text"], "audio": None}, None),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}, "give the model's in prices, with"),
        ({"audio": {"voice": "alloy"}}, "the price of spoken answers is not known"),
        ({"modalities": ["image", "text"]}, "the price of answers of the kind image is not known"),
        ({"max_completion_tokens": None}, "set request.max_completion_tokens"),
        ({"max_completion_tokens": -1}, "set request.max_completion_tokens"),
        ({"max_completion_tokens": "10"}, "set request.max_completion_tokens"),
        ({"messages": [{"content": [{"type": "image_url"}]}]}, "messages.0 has a part of type image_url"),
        ({"messages": [{"content": [{"type": "input_audio"}]}]}, "messages.0 has a part of type input_audio"),
        ({"messages": [{}, {"audio": {"id": "a"}}]}, "messages.1 repeats a spoken answer"),
        ({"web_search_options": {}}, "web_search_options searches the web"),
        ({"plugins": [{"id": "web"}]}, "plugins searches the web"),
        ({"tools": [{"type": "function"}, {"type": "web_search"}]}, "tools.1 of type web_search is run by"),
        ({"tools": [{"type": "mcp"}]}, "tools.0 of type mcp is run by the server"),
        ({"model": "openai/gpt-5:online"}, "searches the web"),
        ({"fallback_model": "x"}, "fallback_model lets another model answer"),
        ({"models": ["a", "b"]}, "models lets another model answer"),
        ({"route": "fallback"}, "route lets another model answer"),
        ({"prediction": {"type": "content"}}, "prediction is billed beyond"),
        ({"service_tier": "turbo"}, "no price is known for service_tier turbo"),
        ({"prompt_cache_retention": "24h"}, "prompt_cache_retention has a price of its own"),
    ],
)
def test_a_request_without_an_upper_bound_says_why(changed: dict[str, Any], reason: str | None) -> None:
    """What makes the number of tokens, or their price, unknown before the answer."""
    said = no_upper_bound({**TEXT, **changed}, price("gpt-5"))
    assert (said is None) if reason is None else (said is not None and reason in said)


SPOKEN = {**TEXT, "modalities": ["text", "audio"], "audio": {"voice": "alloy"}}


@pytest.mark.parametrize(
    ("known", "bounded"),
    [
        (price("gpt-audio"), True),
        (price("gpt-audio-mini"), True),
        (price("gpt-4o-audio-preview"), False),
        (price("gpt-4o-mini-audio-preview"), False),
        (price("gpt-4o-audio-preview", input=2.5, output=10, output_audio=80), True),
        (price("gpt-4o-audio-preview", input=2.5, output=80), True),
    ],
)
def test_spoken_answers_are_bounded_where_their_price_is_known(known: Price, bounded: bool) -> None:
    """Else a hard cap is passed many times over by answers that are counted as text."""
    assert (no_upper_bound(SPOKEN, known) is None) == bounded
    assert no_upper_bound(SPOKEN) is None  # a cap on tokens alone holds
    cost = known.cost(usage(10, 100, completion_audio_tokens=100))
    assert (cost is not None) == bounded
    if bounded:
        assert cost is not None
        assert cost <= known.bound(10, 100)


def test_pictures_are_bounded_by_the_jobs_own_price() -> None:
    """The job says what a token of an answer costs, whatever it shows."""
    document = {**TEXT, "modalities": ["image", "text"]}
    assert no_upper_bound(document, price("gemini-2.5-flash-image", GOOGLE, input=0.3, output=30)) is None


def test_a_price_that_may_be_passed_is_no_bound() -> None:
    """OpenRouter's depends on the provider that it picks, Azure's on the region, until the job gives one."""
    assert "OpenRouter picks" in str(no_upper_bound(TEXT, price("openai/gpt-5", OPENROUTER)))
    azure = price("gpt-5", "https://res.openai.azure.com/openai/v1")
    assert "depends on the region" in str(no_upper_bound(TEXT, azure))
    assert no_upper_bound(TEXT, price("openai/gpt-5", OPENROUTER, input=2, output=12)) is None


def test_a_cap_on_tokens_alone_asks_for_no_price() -> None:
    """Another model's answer is as long at most; a search adds text."""
    assert no_upper_bound({**TEXT, "fallback_model": "x", "service_tier": "turbo"}) is None
    assert "searches the web" in str(no_upper_bound({**TEXT, "web_search_options": {}}))


@pytest.mark.parametrize(
    ("document", "most"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 5, "n": 3}, 15),
        ({"max_tokens": 5, "max_completion_tokens": 7, "n": None}, 7),
        ({"max_tokens": 5, "n": 2, "best_of": 4}, 20),
        ({"max_tokens": 5, "n": "2"}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": 0}, None),  # no limit to some servers
        ({}, None),
    ],
)
def test_an_answer_is_bounded_by_its_limit_times_the_choices(
    document: dict[str, Any], most: int | None
) -> None:
    """Both names of the limit count, and vLLM's best_of."""
    assert output_bound(document) == most
    assert prompt_bound(5_000) == 6_000


def test_the_price_list_is_imported_only_when_it_is_asked() -> None:
    """`import batchrun.prices`, and the job's own prices, do not pay for the list's import."""
    code = (
        "import sys; from batchrun.prices.table import find_price; "
        "from batchrun.job.sections.spending import PriceSpec; "
        "spec = PriceSpec(input=1, output=1); assert find_price('x', base_urls=[], given=spec, now=0.0); "
        "assert 'genai_prices' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_small_prices_are_exact() -> None:
    """Tokens of $0.000001 a million add up without a rounding error."""
    known = price("x", input=0.000001, output=0.000003)
    assert known.cost(usage(3, 1)) == float(Decimal("6e-12"))
