"""The usage that an answer reports. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchrun.simulator.config import Prices


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens of one choice."""

    text: int
    reasoning: int = 0
    audio: int = 0
    accepted: int = 0
    """Predicted ones that the answer has; they are among those of the text."""
    rejected: int = 0
    """Predicted ones that it has not; they are paid for all the same."""

    @property
    def total(self) -> int:
        """All that count as completion tokens."""
        return self.text + self.reasoning + self.audio + self.rejected


def usage(prompt: int, prompt_audio: int, cached: int, spent: Sequence[Spent]) -> dict[str, Any]:
    """`usage` as OpenAI words it, for all choices of an answer together."""
    completion = sum(one.total for one in spent)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": prompt_audio},
        "completion_tokens_details": {
            "reasoning_tokens": sum(one.reasoning for one in spent),
            "audio_tokens": sum(one.audio for one in spent),
            "accepted_prediction_tokens": sum(one.accepted for one in spent),
            "rejected_prediction_tokens": sum(one.rejected for one in spent),
        },
    }


def cost(usage: Mapping[str, Any], prices: Prices) -> float:
    """What an answer of this usage costs, USD. Cached tokens are some of the prompt's."""
    cached: int = usage["prompt_tokens_details"]["cached_tokens"]
    fresh: int = usage["prompt_tokens"] - cached
    cheap = prices.input if prices.cached is None else prices.cached
    written: int = usage["completion_tokens"]
    found = fresh * prices.input + cached * cheap + written * prices.output
    return round(found / 1e6, 12)
