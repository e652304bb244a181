"""Log probabilities for simulated tokens, shaped as the Chat Completions reference says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from batchrun.simulator.draws import numbers
from batchrun.simulator.vocabulary import WORDS


def content(tokens: Sequence[str], top: int, *draw: object) -> list[dict[str, Any]]:
    """One entry a token: `token`, `logprob`, `bytes`, and `top` alternatives, the likeliest first.

    The token itself is the likeliest; the probabilities of all alternatives add up to less than 1.
    """
    chance = numbers(2 * len(tokens), "logprobs", *draw)
    return [
        _entry(token, 0.35 + 0.64 * chance[2 * i] / 65536, chance[2 * i + 1], top)
        for i, token in enumerate(tokens)
    ]


def _entry(token: str, probability: float, offset: int, top: int) -> dict[str, Any]:
    likeliest = _option(token, probability)
    others = [_option(*other) for other in _others(token, 1 - probability, offset, top - 1)]
    return {**likeliest, "top_logprobs": [likeliest, *others] if top else []}


def _others(token: str, rest: float, offset: int, count: int) -> Iterator[tuple[str, float]]:
    """`count` distinct words other than `token`, each with 40% of what the ones before it left."""
    words = (WORDS[(offset + i) % len(WORDS)] for i in range(len(WORDS)))
    distinct = (
        word for word in (f" {word}" if token.startswith(" ") else word for word in words) if word != token
    )
    for _, word in zip(range(count), distinct, strict=False):
        yield word, rest * 0.4
        rest *= 0.6


def _option(token: str, probability: float) -> dict[str, Any]:
    return {"token": token, "logprob": math.log(probability), "bytes": list(token.encode("utf-8", "replace"))}
