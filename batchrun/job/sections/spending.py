"""The job file's sections on money and on the end of a run: prices, budget, hedging."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from batchrun.job.document.interpolate import Expanded
from batchrun.job.document.place import Loc, WrongPartsError
from batchrun.job.sections.fields import Count, Flag, PositiveDuration, Section, typed

_QUANTILE = re.compile(r"p(?P<percent>[5-9][0-9](?:\.[0-9]+)?)")
_MOST = 1_000_000_000
_QUOTED = re.compile(r"\$?\s*(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?:\$|usd)?", re.IGNORECASE)


def _number(value: Any, wanted: str) -> float:
    given, value = value, typed(value)
    # what a variable holds is never quoted
    plain = isinstance(given, str) and not isinstance(given, Expanded)
    if plain and (written := _QUOTED.fullmatch(given.strip())):
        raise ValueError(f"{wanted}, without quotes or a sign: write {written['number']}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(wanted)
    if value > _MOST:
        raise ValueError(f"must be an amount of at most {_MOST} USD")
    return float(value)


def _price(value: Any) -> float:
    wanted = "must be an amount of USD: a number from 0 on"
    if (price := _number(value, wanted)) < 0:
        raise ValueError(wanted)
    return price


def _amount(value: Any) -> float:
    wanted = "must be an amount of USD: a number above 0"
    if (amount := _number(value, wanted)) <= 0:
        raise ValueError(wanted)
    return amount


def _part(value: Any) -> float:
    wanted = "must be a share of the price: a number above 0, at most 1, as 0.5 for half of it"
    value = typed(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(wanted)
    return float(value)


def _mapping(value: Any, example: str) -> Any:
    """Say how a section is written where one plain value stands in its place."""
    plain = isinstance(value, int | float) or (isinstance(value, str) and ":" not in value)
    if plain and not isinstance(value, Expanded):
        raise ValueError(f"must be a mapping: write {example}")
    return value


def _quantile(value: Any) -> float:
    match = _QUANTILE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be p50 to p99.9: how slow a call is among those that answered")
    return float(match["percent"]) / 100


Price: TypeAlias = Annotated[
    float,
    BeforeValidator(_price),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": _MOST}),
]
"""USD per million tokens."""
PartOfPrice: TypeAlias = Annotated[
    float,
    BeforeValidator(_part),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
]
"""A share of a price."""
Amount: TypeAlias = Annotated[
    float,
    BeforeValidator(_amount),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": _MOST}),
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
    batch: PartOfPrice = 0.5
    """What a call costs in a provider's batch, as a share of these prices."""

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: Any) -> Any:
        return _mapping(value, "{input: …, output: …}, in USD per million tokens")


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

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: Any) -> Any:
        return _mapping(value, "{cost_usd: 20}, or another amount")

    @model_validator(mode="after")
    def _has_an_effect(self) -> Self:
        wrong: list[tuple[Loc, str]] = []
        if self.soft and self.cost_usd is None and self.tokens is None:
            wrong.append((("soft",), "has no effect without cost_usd or tokens: add one, or remove it"))
        # an amount of null counts as given: so one submit is freed of it in the shell
        if "per" in self.model_fields_set and not {"cost_usd", "tokens", "requests"} & self.model_fields_set:
            wrong.append(
                (("per",), "has no effect without cost_usd, tokens or requests: add one, or remove it")
            )
        WrongPartsError.raise_any(wrong)
        return self


class Tail(Section):
    """The end of a run: no straggler holds it."""

    hedge_after: Quantile = Field(default=0.99, json_schema_extra={"default": "p99"})
    """The last 1% of rows are sent a second time when a call takes longer than this quantile of those that
    answered, p99 say; the first answer wins."""

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: Any) -> Any:
        return _mapping(value, "{hedge_after: p99}")
