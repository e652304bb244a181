"""What calls take, and sums of it that are exact: money in whole 1e-12 USD."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from batchrun.value import value

_USD = Decimal(10**12)


@value(frozen=True, slots=True)
class Amounts:
    """What calls take; None where it is not known."""

    cost_usd: float | None = 0.0
    """USD."""
    tokens: int | None = 0
    """Of prompts and answers together."""
    requests: int = 0


class Sums(NamedTuple):
    """Amounts in whole numbers, `cost` in 1e-12 USD. What is not known counts as nothing."""

    cost: int = 0
    tokens: int = 0
    requests: int = 0

    @classmethod
    def of(cls, amounts: Amounts) -> Sums:
        """Money is rounded up."""
        cost = rounded_up(amounts.cost_usd) if amounts.cost_usd else 0
        return cls(cost, amounts.tokens or 0, amounts.requests)

    def plus(self, other: Sums) -> Sums:
        return Sums(self.cost + other.cost, self.tokens + other.tokens, self.requests + other.requests)

    def minus(self, other: Sums) -> Sums:
        return Sums(self.cost - other.cost, self.tokens - other.tokens, self.requests - other.requests)

    def amounts(self) -> Amounts:
        return Amounts(self.cost / 10**12, self.tokens, self.requests)


def rounded_up(usd: float) -> int:
    """USD as whole 1e-12 USD. A float stands for the shortest decimal that spells it: 0.1 is 0.1."""
    return int((Decimal(repr(usd)) * _USD).to_integral_value(ROUND_CEILING))


def rounded_down(usd: float) -> int:
    """The same for a cap."""
    return int((Decimal(repr(usd)) * _USD).to_integral_value(ROUND_FLOOR))
