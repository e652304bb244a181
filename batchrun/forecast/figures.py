"""Estimated amounts in words, with no more digits than an estimate has."""

from __future__ import annotations

import math
from collections.abc import Callable

from batchrun.forecast.estimate import Range
from batchrun.wording import usd

_DIGITS = 2
_LEAST_USD = 1e-6


def rounded(amount: float) -> float:
    """An amount to two digits."""
    if not amount or not math.isfinite(amount):
        return amount
    return round(amount, _DIGITS - 1 - math.floor(math.log10(abs(amount))))


def rounded_up(amount: float) -> float:
    """The same, never below the amount: what may be needed."""
    near = rounded(amount)
    if near >= amount:
        return near
    return rounded(near + 10 ** (math.floor(math.log10(amount)) - _DIGITS + 1))


def estimated_usd(amount: float) -> str:
    """`$0.0034`, `$1.20`, `$26`, `$1,200`; a millionth is the least that is told from nothing."""
    amount = rounded(amount)
    if amount < _LEAST_USD:
        return "$0"
    return f"${amount:,.0f}" if amount >= 10 else usd(amount)


def number(amount: float) -> str:
    """`7`, `310,000`, `1.2 million`."""
    for size, word in ((1e9, " billion"), (1e6, " million")):
        if rounded(amount) >= size:
            return f"{rounded(amount) / size:,.12g}{word}"
    return f"{rounded(amount) if amount >= 100 else round(amount):,.0f}"


def time(seconds: float) -> str:
    """`8 s`, `25 min`, `3.5 hours`, `4 days`."""
    if seconds < 100:
        return f"{max(1, math.ceil(seconds)):.0f} s"
    if seconds < 6_000:
        return f"{rounded(seconds / 60):.0f} min"
    if seconds < 48 * 3_600:
        return f"{rounded(seconds / 3_600):g} hours"
    return f"{rounded(seconds / 86_400):g} days"


def spread(amount: Range, spelled: Callable[[float], str]) -> str:
    """`about $1.20 ($0.90 to $1.70)`; one figure where all ends are spelled alike."""
    low, likely = spelled(amount.low), spelled(amount.likely)
    if amount.high is None:
        return f"about {likely} (from {low}, with no upper bound)"
    high = spelled(amount.high)
    return f"about {likely}" if low == likely == high else f"about {likely} ({low} to {high})"


def stated(key: str, amount: float) -> str:
    """A part of a budget, which is no estimate: `$12.50`, `1,250,000 tokens`, `900 requests`, `60 min`."""
    if key == "cost_usd":
        return usd(amount)
    return time(amount) if key == "wall_time" else named(key, f"{amount:,.0f}")


def named(key: str, figure: str) -> str:
    """A figure with what it counts: `1 request`, `1.2 million tokens`; money and time say it themselves."""
    if key in ("cost_usd", "wall_time"):
        return figure
    return f"{figure} {key.removesuffix('s') if figure == '1' else key}"
