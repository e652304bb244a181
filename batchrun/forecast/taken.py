"""What rows take before it is known how fast they go, and what tokens cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from batchrun.forecast.estimate import Range
from batchrun.outcome import Usage
from batchrun.prices import Price


@dataclass(frozen=True, slots=True)
class Taken:
    """What some rows take together.

    Attributes:
        seconds: that one row is under way.
        cost: USD; None where no price is known.
        basis: what that is told from.
    """

    prompts: Range
    outputs: Range
    calls: Range
    seconds: Range
    cost: Range | None
    basis: tuple[str, ...]


def cost_of(price: Price, prompt: float, output: float, calls: float) -> float | None:
    """USD for a row whose calls take these tokens together."""
    usage = Usage(prompt_tokens=round(prompt / calls), completion_tokens=round(output / calls))
    cost = price.cost(usage)
    return None if cost is None else cost * calls


def cached_share(price: Price, usages: Iterable[Usage]) -> float:
    """What all of these calls would cost of what they cost, if every prompt came from the cache; 1 at most.

    0 where it is not known: the least is then not known either.
    """
    usual = least = 0.0
    for usage in usages:
        heard = usage.prompt_audio_tokens or 0
        cached = replace(usage, cached_tokens=max(0, (usage.prompt_tokens or 0) - heard))
        cost, cheaper = price.cost(usage), price.cost(cached, cache_write_tokens=0)
        if cost is None or cheaper is None:
            return 0.0
        usual, least = usual + cost, least + cheaper
    return min(1.0, least / usual) if usual else 1.0


def prompt_price(price: Price, prompts: Sequence[float]) -> float:
    """USD for a token of prompts of such lengths; 0 where it is not known."""
    tokens = max(1, round(fmean(prompts)))
    nothing = price.cost(Usage(prompt_tokens=0, completion_tokens=0))
    cost = price.cost(Usage(prompt_tokens=tokens, completion_tokens=0))
    return 0.0 if cost is None or nothing is None else (cost - nothing) / tokens
