"""The job file's sections on money and on the end of a run: prices, budget, hedging."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from batchrun.job.fields import Count, Flag, PositiveDuration, Section, typed
from batchrun.job.place import WrongPartsError

_QUANTILE = re.compile(r"p(?P<percent>[0-9]{1,2}(?:\.[0-9]+)?)")


def _amount(value: Any) -> float:
    value = typed(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError("must be an amount of USD: a number from 0 on")
    return float(value)


def _above_zero(amount: float) -> float:
    if amount <= 0:
        raise ValueError("must be an amount of USD above 0")
    return amount


def _quantile(value: Any) -> float:
    match = _QUANTILE.fullmatch(value.strip()) if isinstance(value, str) else None
    share = float(match["percent"]) / 100 if match else 0.0
    if not 0.5 <= share < 1:
        raise ValueError("must be p50 to p99.9: how slow a call is among those that answered")
    return share


Price: TypeAlias = Annotated[
    float, BeforeValidator(_amount), WithJsonSchema({"type": "number", "minimum": 0})
]
"""USD per million tokens."""
Amount: TypeAlias = Annotated[
    float,
    BeforeValidator(_amount),
    AfterValidator(_above_zero),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]
"""USD."""
Quantile: TypeAlias = Annotated[
    float,
    BeforeValidator(_quantile),
    WithJsonSchema({"type": "string", "pattern": f"^{_QUANTILE.pattern.replace('?P<percent>', '')}$"}),
]


class PriceSpec(Section):
    """What a model costs, in USD per million tokens; it replaces what is known of the model."""

    input: Price
    """Tokens of prompts."""
    output: Price
    """Tokens of answers, reasoning included."""
    cached: Price | None = None
    """Tokens of prompts that the provider had cached; default: as `input`."""
    input_audio: Price | None = None
    """Tokens of recordings in prompts; default: as `input`."""
    output_audio: Price | None = None
    """Tokens of spoken answers; default: as `output`."""
    request: Price = 0.0
    """USD per million requests, beside their tokens."""


class Budget(Section):
    """What may be spent; sending stops before any of it is passed, and the run can be continued."""

    cost_usd: Amount | None = None
    """USD."""
    tokens: Count | None = None
    """Tokens, of prompts and answers together."""
    requests: Count | None = None
    """Calls, answered or not."""
    wall_time: PositiveDuration | None = None
    """Time that one submit may take."""
    per: Literal["run", "submit", "day"] = "run"
    """What the amounts are for: all submits of the run folder, each submit, or each day (UTC)."""
    soft: Flag = False
    """true: requests whose cost has no upper bound are sent, too; they may pass the amounts."""

    @model_validator(mode="after")
    def _soft_has_a_meaning(self) -> Self:
        if self.soft and self.cost_usd is None and self.tokens is None:
            raise WrongPartsError([(("soft",), "has no effect without cost_usd or tokens")])
        return self


class Tail(Section):
    """The end of a run: no straggler holds it."""

    hedge_after: Quantile = Field(default=0.99)
    """The last 1% of rows are sent a second time when a call takes longer than this quantile of those that
    answered, p99 say; the first answer wins."""
