"""Columns of Python values under one type each, whatever a batch of rows happens to hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, islice, product
from typing import Any, TypeAlias

import polars as pl

from batchrun import codec
from batchrun.predicate.declared import as_declared

MOST_TRIES = 2_000
"""Frames that are made of one whose columns are null throughout: of three such columns all."""

Path: TypeAlias = tuple[str, ...]
"""A column, or a member of one by the way to it."""

Types: TypeAlias = Mapping[str, pl.DataType]
"""Of columns, by their names."""

_LISTS: tuple[pl.DataType, ...] = (pl.List(pl.String()), pl.List(pl.Float64()))
_TYPES = (pl.String(), pl.Float64(), pl.Datetime("us"), *_LISTS, pl.Int64(), pl.Boolean())
"""What null may stand for: functions refuse a null of no type, and one of another type than theirs."""

_SCALARS: dict[type, pl.DataType] = {
    str: pl.String(),
    bool: pl.Boolean(),
    float: pl.Float64(),
}

_INT64 = range(-(2**63), 2**63)


class MixedKindsError(ValueError):
    """Values that no type holds; the message names their kinds."""


@dataclass(slots=True)
class Asked:
    """What a condition looks at of a column: all of it, or some of its members."""

    whole: bool = False
    members: dict[str, Asked] = field(default_factory=dict)

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Asked:
        """The columns that `paths` lead into, as members."""
        top = cls()
        for path in paths:
            here = top
            for name in path:
                here = here.members.setdefault(name, cls())
            here.whole = True
        return top


def series(name: str, values: Sequence[Any], asked: Asked, kind: pl.DataType | None) -> pl.Series:
    """The column under its declared type, or the one that holds all its values and what is asked of them.

    Raises MixedKindsError, and what polars raises for values that it cannot hold.
    """
    if kind is not None:
        return pl.Series(name, as_declared(values, kind), dtype=kind)
    if not asked.whole:
        values = [_narrowed(value, asked) for value in values]
    kind = joined(values, asked)
    if kind.is_nested() or kind in (pl.String, pl.Float64):
        values = [_fitted(value, kind) for value in values]
    return pl.Series(name, values, dtype=kind)


def _narrowed(value: Any, asked: Asked) -> Any:
    """A struct with the members alone that are asked for: what others hold must not matter."""
    if asked.whole or not isinstance(value, dict):
        return value
    return {name: _narrowed(value.get(name), inner) for name, inner in asked.members.items()}


def joined(values: Iterable[Any], asked: Asked) -> pl.DataType:
    """The type that holds all these values, with the members that are asked for. Raises MixedKindsError."""
    values = [value for value in values if value is not None]
    kinds = set(map(type, values))
    if kinds == {dict} or (asked.members and not kinds):
        members: defaultdict[str, list[Any]] = defaultdict(list, {name: [] for name in asked.members})
        for name, member in chain.from_iterable(value.items() for value in values):
            members[name].append(member)
        rest = Asked(whole=True)
        return pl.Struct({name: joined(of, asked.members.get(name, rest)) for name, of in members.items()})
    if kinds == {list}:
        return pl.List(joined(chain.from_iterable(values), Asked(whole=True)))
    if kinds == {int}:
        return pl.Int64() if min(values) in _INT64 and max(values) in _INT64 else pl.Int128()
    if kinds == {int, float}:
        return pl.Float64()
    if len(kinds) > 1:
        raise MixedKindsError(", ".join(sorted(kind.__name__ for kind in kinds)))
    if not kinds:
        return pl.Null()
    return _SCALARS.get(kinds.pop()) or pl.Series(values).dtype


def _fitted(value: Any, kind: Any) -> Any:
    """A value as its column's type has it; a lone surrogate, which UTF-8 cannot carry, becomes U+FFFD."""
    if type(value) is str:
        return codec.scrubbed(value)
    if type(value) is int and kind == pl.Float64:
        return float(value)
    if type(value) is list:
        return [_fitted(item, kind.inner) for item in value]
    if type(value) is dict:
        return {one.name: _fitted(value.get(one.name), one.dtype) for one in kind.fields}
    return value


def with_typed_nulls(frame: pl.DataFrame, paths: Iterable[Path]) -> Iterator[pl.DataFrame]:
    """The frame with one type or another where all that `paths` lead to is null, or a list of nothing."""
    found = {path: _at(frame.schema, path) for path in paths}
    unknown = [path for path, kind in found.items() if kind in (pl.Null, pl.List(pl.Null))]
    fitting = {path: _TYPES if found[path] == pl.Null else _LISTS for path in unknown}
    alike = ({path: kind if kind in fitting[path] else _LISTS[0] for path in unknown} for kind in _TYPES)
    some = (
        dict(zip(places, kinds, strict=True))
        for count in range(1, len(unknown) + 1)
        for places in combinations(unknown, count)
        for kinds in product(*(fitting[path] for path in places))
    )
    for kinds in islice(chain(alike, some), MOST_TRIES) if unknown else ():
        yield frame.with_columns(
            _retyped(frame[name], _typed(frame.schema[name], inner, kinds, (name,)))
            for name, inner in Asked.of(kinds).members.items()
        )


def _retyped(values: pl.Series, kind: pl.DataType) -> pl.Series:
    try:
        return values.cast(kind)
    except pl.exceptions.PolarsError:  # it casts no list of nothing
        return pl.Series(values.name, values.to_list(), dtype=kind)


def _at(schema: Mapping[str, Any], path: Path) -> Any:
    kind = schema[path[0]]
    for name in path[1:]:
        members = {one.name: one.dtype for one in kind.fields} if isinstance(kind, pl.Struct) else {}
        kind = members.get(name)
    return kind


def _typed(kind: Any, asked: Asked, kinds: Mapping[Path, pl.DataType], path: Path) -> pl.DataType:
    if path in kinds:
        return kinds[path]
    return pl.Struct(
        {
            one.name: _typed(one.dtype, asked.members[one.name], kinds, (*path, one.name))
            if one.name in asked.members
            else one.dtype
            for one in kind.fields
        }
    )
