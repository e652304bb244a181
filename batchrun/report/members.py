"""The members of `parsed` whose values are counted: numbers, booleans, and what the schema enumerates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import polars as pl

from batchrun.chat.schema.json_schema import UnsettledError, alternatives, is_null, settled, values_of

MOST = 24
"""Members that are counted: a schema may have hundreds."""

BINS = 20
"""Bins of a number's values, about."""

_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of `parsed`, by its dotted path; empty where the answer is one value itself."""

    path: str
    value: pl.Expr
    is_number: bool
    is_whole: bool = False


def members(parsed: pl.DataType, schema: Mapping[str, Any] | None) -> Iterator[Member]:
    """The members to count in a column `parsed` of this type, in the schema's order.

    Without the schema no text is known to be one of a list.
    """
    yield from _found("", pl.col("parsed"), parsed, schema, schema or {})


def _found(
    path: str, value: pl.Expr, kind: pl.DataType, schema: Any, root: Mapping[str, Any]
) -> Iterator[Member]:
    described = _described(schema, root)
    if isinstance(kind, pl.Struct):
        numbered = value.struct.rename_fields(
            [str(n) for n in range(len(kind.fields))]
        )  # names may be patterns
        for number, field in enumerate(kind.fields):
            inside = field.dtype if isinstance(field.dtype, pl.DataType) else field.dtype()
            below = (described.get("properties") or {}).get(field.name)
            place = f"{path}.{field.name}" if path else field.name
            yield from _found(place, numbered.struct.field(str(number)), inside, below, root)
    elif kind == pl.Boolean or (values_of(described) and not kind.is_nested()):
        yield Member(path, value.cast(pl.String), is_number=False)
    elif kind.is_numeric():
        double = value.cast(pl.Float64)
        finite = pl.when(double.is_finite()).then(double)
        yield Member(path, finite, is_number=True, is_whole=kind.is_integer())


def _described(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a schema says of a value that is there: references followed, null left out of unions."""
    if not isinstance(schema, Mapping):
        return {}
    with suppress(UnsettledError):
        found, _ = settled(schema, root)
        branches = [branch for branch in alternatives(found) or () if not is_null(branch)]
        return settled(branches[0], root)[0] if len(branches) == 1 else found
    return {}


@dataclass(frozen=True, slots=True)
class Range:
    """The bins of a number's values: `count` of them, each `step` wide, the first from `low`."""

    low: float
    step: float
    count: int

    def bin(self, value: pl.Expr) -> pl.Expr:
        """Which of them a value is in."""
        return ((value - self.low) / self.step).floor().clip(0, self.count - 1).cast(pl.Int32)


def binned(least: float, most: float, *, is_whole: bool) -> Range | None:
    """Bins of about equal and round width from `least` to `most`; None where doubles cannot tell them apart.

    Whole numbers that are few have a bin each, with the number in its middle.
    """
    if is_whole and most - least <= BINS and abs(most) + abs(least) < 2**53:
        return Range(least - 0.5, 1.0, int(most - least) + 1)
    width = (most - least) / BINS or max(abs(least) / 10, 1e-9)
    if not 1e-300 < width < 1e300:
        return None
    step = _round_up(width)
    low = math.floor(least / step) * step
    if low + step <= low or max(abs(least), abs(most)) / step > 2**53:
        return None
    return Range(low, step, max(1, math.ceil((most - low) / step - 1e-9)))


def _round_up(width: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 and so on, and their fractions."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in _STEPS if step * power >= width * (1 - 1e-9))
