"""Prompt caching: which tokens of a prompt are reported as found."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from batchrun.simulator import Running
from batchrun.simulator.config import Cache
from batchrun.simulator.prompt_cache import PromptCache
from tests.simulator import asking
from tests.simulator.playing import eventually, play
from tests.simulator.wire import ask, body

CACHE = {"tokens": 1024, "seconds": 300}


def prompt(words: int, *endings: str, **members: object) -> bytes:
    """A prompt of so many tokens, and some more at its end."""
    return body(messages=[{"role": "user", "content": " word" * words + "".join(endings)}], **members)


async def cached(running: Running, content: bytes) -> int:
    usage = (await ask(running.base_url, content)).data["usage"]
    found: int = usage["prompt_tokens_details"]["cached_tokens"]
    assert found <= usage["prompt_tokens"]
    return found


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (prompt(1300), prompt(1300), 1280),
        (prompt(1200, " a b c"), prompt(1200, " d e f g"), 1152),
        (prompt(1200), prompt(3000), 1152),
        (prompt(3000), prompt(1023), 0),
        (prompt(1023, " a"), prompt(1023, " b"), 0),
        (prompt(1024, " a"), prompt(1024, " b"), 1024),
        (body(messages=[{"role": "user", "content": " other" * 1300}]), prompt(1300), 0),
        (prompt(1300, model="m-2"), prompt(1300), 0),
        (prompt(1300, tools=[{"type": "function", "function": {"name": "look"}}]), prompt(1300), 0),
        (prompt(1300, temperature=0.5, stream=True), prompt(1300), 1280),
    ],
)
def test_prompts_that_begin_alike_are_cached(first: bytes, second: bytes, expected: int) -> None:
    """From 1024 tokens on, in steps of 128; for the same model and the same tools."""

    async def scene(running: Running) -> None:
        await ask(running.base_url, first)
        assert expected == await cached(running, second)

    play(scene, cache={}, limits={"rpm": 100})


def test_nothing_is_cached_unless_asked_for() -> None:
    """Without the option every prompt is new."""

    async def scene(running: Running) -> None:
        assert [await cached(running, prompt(1300)) for _ in range(2)] == [0, 0]

    play(scene)


def test_a_prompt_in_generation_does_not_serve_others() -> None:
    """Two at once find nothing; a third one after them does. A call that failed has answered nothing."""

    async def scene(running: Running) -> None:
        assert (await ask(running.base_url, prompt(1300))).status == 500
        assert "error" in (await ask(running.base_url, prompt(1300))).data
        assert await asyncio.gather(*(cached(running, prompt(1300)) for _ in range(2))) == [0, 0]
        assert await cached(running, prompt(1300)) == 1280

    late = {"kind": "constant", "seconds": 0.05}
    faults = [{"calls": [1, 1], "status": 500}, {"calls": [2, 2], "error_in_200": 502}]
    play(scene, cache=CACHE, latency=late, faults=faults)


def test_those_who_queue_find_what_was_answered_before_them() -> None:
    """The cache is read when generation begins, not on arrival."""

    async def scene(running: Running) -> None:
        found = await asyncio.gather(*(cached(running, prompt(1300)) for _ in range(3)))
        assert sorted(found) == [0, 1280, 1280]

    play(scene, cache=CACHE, limits={"concurrency": 1}, latency={"kind": "constant", "seconds": 0.02})


def test_a_prefix_is_forgotten() -> None:
    """So many seconds after the last answer."""

    async def scene(running: Running) -> None:
        await ask(running.base_url, prompt(1100))
        await asyncio.sleep(0.1)
        assert await cached(running, prompt(1100)) == 0

    play(scene, cache={"seconds": 0.05})


def test_each_answer_keeps_a_prefix_longer() -> None:
    """Time counts from the last one."""
    cache = PromptCache(Cache(tokens=10, seconds=300))
    prefixes = cache.prefixes(asking.request(messages=[{"role": "user", "content": " a" * 20}]))
    cache.keep(0, prefixes)
    assert cache.cached(300, prefixes) == 10
    cache.keep(300, prefixes)
    assert cache.cached(600, prefixes) == 10
    assert cache.cached(601, prefixes) == 0


def test_memory_is_bounded() -> None:
    """The prefix that was answered longest ago goes first, a longer one before the shorter it needs."""
    cache = PromptCache(Cache(tokens=10), most=4)
    long = cache.prefixes(asking.request(messages=[{"role": "user", "content": " a" * 400}]))
    others = [
        cache.prefixes(asking.request(messages=[{"role": "user", "content": f"{i}" + " a" * 20}]))
        for i in range(3)
    ]
    assert len(long) == 4
    cache.keep(1, long)
    assert cache.cached(1, long) == 10 + 3 * 128
    for prefixes in others:
        cache.keep(2, prefixes)
    assert [cache.cached(3, prefixes) for prefixes in (long, *others)] == [10, 10, 10, 10]


def test_a_prompt_of_other_tokens_is_cut_elsewhere(tmp_path: Path) -> None:
    """With half a token a byte, 3000 bytes are 1500 tokens, 1408 of which are cached; the ledger has it."""

    async def scene(running: Running) -> None:
        content = body(messages=[{"role": "user", "content": "x" * 3000}])
        assert [await cached(running, content) for _ in range(2)] == [0, 1408]
        await eventually(lambda: running.ledger.counts.delivered == 2)

    settings: dict[str, Any] = {"cache": CACHE, "tokens_per_byte": 0.5}
    calls = play(scene, tmp_path / "ledger.jsonl", **settings)
    answers = [call.answer for call in calls]
    assert [(a.prompt_tokens, a.cached_tokens) for a in answers if a] == [(1500, 0), (1500, 1408)]
