"""What completions cost, and how many tokens they take."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from batchrun.simulator import Running, SimulatorConfig
from tests.simulator.playing import asked, eventually, play
from tests.simulator.wire import ask, body, connected, request

PRICES = {"input": 0.15, "output": 0.6, "cached": 0.075}


def price(usage: dict[str, Any]) -> float:
    """The same by hand."""
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    cheap = (usage["prompt_tokens"] - cached) * 0.15 + cached * 0.075
    return float(cheap + usage["completion_tokens"] * 0.6) / 1e6


def test_the_ledger_has_what_was_billed(tmp_path: Path) -> None:
    """Each answer's cost, of all choices, cached tokens at their price; an error costs nothing."""
    usages = []

    async def scene(running: Running) -> None:
        content = body(n=3, messages=[{"role": "user", "content": " word" * 1300}])
        for _ in range(2):
            usages.append((await ask(running.base_url, content)).data["usage"])
        assert (await ask(running.base_url, body(model="other"))).status == 404
        assert math.isclose(running.ledger.counts.cost_usd, sum(map(price, usages)))

    calls = play(scene, tmp_path / "ledger.jsonl", cost=PRICES, cache={}, models=["m-1"])
    costs = [call.answer.cost_usd for call in calls if call.answer]
    assert costs == [pytest.approx(price(usage)) for usage in usages] + [None]
    assert usages[1]["prompt_tokens_details"]["cached_tokens"] == 1280
    assert not [usage for usage in usages if "cost" in usage]


def test_an_answer_may_show_its_cost() -> None:
    """As OpenRouter does, in `usage.cost`; a stream too, in its last chunk."""
    prices = {**PRICES, "report": True}
    usage = asked(cost=prices).data["usage"]
    assert math.isclose(usage["cost"], price(usage))
    stream = asked(body(stream=True, stream_options={"include_usage": True}), cost=prices)
    last = json.loads(stream.body.split(b"\n\n")[-3].removeprefix(b"data: "))
    assert last["usage"] == usage


@pytest.mark.parametrize("leaves", ["early", "late"])
def test_what_is_not_delivered_is_billed_all_the_same(tmp_path: Path, leaves: str) -> None:
    """A client that leaves, or loses the answer, has to pay for it."""

    async def scene(running: Running) -> None:
        async with connected(running.base_url) as wire:
            await wire.send(request(body()))
            await eventually(lambda: running.ledger.counts.calls == 1)
            if leaves == "late":
                assert await wire.reader.read(1 << 20)
        await eventually(lambda: running.ledger.counts.billed == 1)
        whole = (await ask(running.base_url)).data["usage"]
        assert math.isclose(running.ledger.counts.cost_usd, 2 * price(whole))

    calls = play(
        scene,
        tmp_path / "ledger.jsonl",
        cost=PRICES,
        latency={"kind": "constant", "seconds": 0.05},
        faults=[{"first": 1, "reset": "mid_body"}],
    )
    lost, whole = (call.answer for call in calls)
    assert lost is not None
    assert whole is not None
    assert (lost.delivered, lost.billed, lost.cost_usd) == (False, True, whole.cost_usd)
    assert (lost.prompt_tokens, lost.completion_tokens) == (whole.prompt_tokens, whole.completion_tokens)


def test_cached_tokens_cost_the_same_unless_told_otherwise() -> None:
    """Without a price of their own they are prompt tokens like others."""

    async def scene(running: Running) -> None:
        content = body(messages=[{"role": "user", "content": " word" * 1300}])
        first, second = [(await ask(running.base_url, content)).data["usage"]["cost"] for _ in range(2)]
        assert first == second

    play(scene, cost={"input": 1, "output": 0, "report": True}, cache={})


@pytest.mark.parametrize(("rate", "expected"), [(0.1, 20), (0.25, 50), (1.0, 200), (None, 1)])
def test_a_prompt_may_take_more_or_fewer_tokens(rate: float | None, expected: int) -> None:
    """So many a byte, UTF-8; by default words and marks are counted."""
    content = body(messages=[{"role": "user", "content": "ö" * 100}])
    assert asked(content, tokens_per_byte=rate).data["usage"]["prompt_tokens"] == expected


def test_limits_count_with_the_same_rate() -> None:
    """A prompt of 100 bytes takes 100 tokens of a limit at a token a byte, and 25 by default."""
    content = body(messages=[{"role": "user", "content": "x" * 100}], max_tokens=5)
    for rate, left in ((None, 970), (1.0, 895)):
        answer = asked(content, tokens_per_byte=rate, limits={"tpm": 1000})
        assert answer.headers["x-ratelimit-remaining-tokens"] == str(left)


def test_the_context_window_counts_them_too() -> None:
    """What the endpoint takes for tokens decides whether a prompt fits."""
    content = body(messages=[{"role": "user", "content": "x" * 100}])
    assert asked(content, context_window=99).status == 200
    refused = asked(content, context_window=99, tokens_per_byte=1.0)
    assert (refused.status, refused.error["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens_per_byte": 0},
        {"tokens_per_byte": 1.1},
        {"cost": {"input": 1}},
        {"cost": {"input": -1, "output": 1}},
        {"cost": {"input": float("nan"), "output": 1}},
        {"cache": {"tokens": 0}},
        {"slowdown": 0},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    """Rather than give numbers that mean nothing."""
    with pytest.raises(ValidationError):
        SimulatorConfig.model_validate(wrong)
