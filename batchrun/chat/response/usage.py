"""What a call took, read from `CompletionUsage` (OpenAI's reference) and its relatives.

DeepSeek counts `prompt_cache_hit_tokens`, Moonshot and others put `cached_tokens` beside the sums,
answers in the style of Anthropic's or OpenAI's Responses name the sums `input_tokens` and
`output_tokens`, OpenRouter and xAI add what the call cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchrun.chat.response import lenient
from batchrun.chat.response.lenient import members
from batchrun.outcome import Usage
from batchrun.value import value

_DEAREST = 1e9
_MOST = 10**15
"""Tokens of one call: what is no count. Sums over the attempts of a row stay within 64 bits."""

_TICKS = 1e10
"""xAI's `cost_in_usd_ticks` in one USD."""


@value(frozen=True, slots=True)
class Bill:
    """What a call took, as far as the server says."""

    usage: Usage | None = None
    cost_usd: float | None = None
    """What it says that the call cost (OpenRouter, xAI)."""
    service_tier: str | None = None
    cache_write_tokens: int | None = None
    """Tokens of the prompt that the provider wrote into its cache."""


NO_BILL = Bill()


def read_bill(document: Mapping[str, Any]) -> Bill:
    """The bill of a whole answer (`ChatCompletion`), or of what came in its place."""
    usage = document.get("usage")
    tier = lenient.text(document.get("service_tier"))
    return Bill(_usage(usage), _cost(usage), tier, _cache_writes(usage))


def _usage(usage: Any) -> Usage | None:
    """The counts of a `usage` object; None where there is no object."""
    if not isinstance(usage, dict):
        return None
    prompt = members(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    completion = members(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    return Usage(
        prompt_tokens=_prompt_tokens(usage),
        completion_tokens=_first(usage.get("completion_tokens"), usage.get("output_tokens")),
        total_tokens=_count(usage.get("total_tokens")),
        cached_tokens=_first(
            prompt.get("cached_tokens"),
            usage.get("cached_tokens"),
            usage.get("prompt_cache_hit_tokens"),
            usage.get("cache_read_input_tokens"),
        ),
        reasoning_tokens=_first(completion.get("reasoning_tokens"), usage.get("reasoning_tokens")),
        prompt_audio_tokens=_count(prompt.get("audio_tokens")),
        completion_audio_tokens=_count(completion.get("audio_tokens")),
        accepted_prediction_tokens=_count(completion.get("accepted_prediction_tokens")),
        rejected_prediction_tokens=_count(completion.get("rejected_prediction_tokens")),
    )


def _cache_writes(usage: Any) -> int | None:
    """The tokens of the prompt that were written into the cache, where a provider bills that and says it.

    OpenAI and OpenRouter name them in the prompt's details, Anthropic beside the sums.
    """
    known = members(usage)
    details = members(known.get("prompt_tokens_details") or known.get("input_tokens_details"))
    return _first(details.get("cache_write_tokens"), known.get("cache_creation_input_tokens"))


def _cost(usage: Any) -> float | None:
    """What the server says the call cost, in USD: OpenRouter's `cost`, xAI's `cost_in_usd_ticks`."""
    known = members(usage)
    if (cost := _amount(known.get("cost"))) is not None:
        return cost
    ticks = _amount(known.get("cost_in_usd_ticks"), most=_DEAREST * _TICKS)
    return None if ticks is None else ticks / _TICKS


def _count(given: Any) -> int | None:
    """The value as a count of tokens."""
    count = lenient.integer(given)
    return count if count is None or abs(count) <= _MOST else None


def _amount(given: Any, *, most: float = _DEAREST) -> float | None:
    if given is None or isinstance(given, bool):
        return None
    if not isinstance(given, int | float) or not abs(given) < most:
        return None
    return float(given)


def _prompt_tokens(usage: Mapping[str, Any]) -> int | None:
    """Anthropic's `input_tokens` leave out what its cache was read from and written with."""
    found = _count(usage.get("prompt_tokens"))
    if found is not None or (found := _count(usage.get("input_tokens"))) is None:
        return found
    cached = (_count(usage.get(f"cache_{how}_input_tokens")) for how in ("read", "creation"))
    return found + sum(count or 0 for count in cached)


def _first(*counts: Any) -> int | None:
    for given in counts:
        if given is not None and (count := _count(given)) is not None:
            return count
    return None
