"""The rows of several runs in one table."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple, TypeAlias

import polars as pl

from batchrun.errors import UsageError
from batchrun.run_folder.columns.layout import input_names
from batchrun.source.parquet_schema import plain, widened

NAME = "run"
"""The column that says which run a row is of."""

_Type: TypeAlias = pl.DataType | pl.datatypes.DataTypeClass

_HINT = "Scan each run by itself, cast that column to one type, and put them together with polars.concat."


def together(runs: list[tuple[str, pl.LazyFrame]]) -> pl.LazyFrame:
    """The rows of runs, given by their names, one run after the other; columns that one lacks are null there.

    Types that differ are widened where that is exact: as `parquet_schema.widened` has it, and struct by
    struct, where a member that one lacks is null.

    Raises UsageError where there is no run, and for every other difference.
    """
    if not runs:
        raise UsageError("no run is given", hint="Name a run folder or a job file.")
    named = [(name, _without_name(rows)) for name, rows in runs]
    for (a, ours), (b, theirs) in combinations([(name, rows.collect_schema()) for name, rows in named], 2):
        for column in ours.keys() & theirs.keys():
            if found := _differing(column, ours[column], theirs[column]):
                raise UsageError(
                    f"column {found.name!r} is {found.a} in {a}, but {found.b} in {b}: no type holds both "
                    "exactly",
                    hint=_HINT,
                )
    frames = [rows.with_columns(pl.lit(name).alias(NAME)) for name, rows in named]
    return pl.concat(frames, how="diagonal_relaxed")


def _without_name(rows: pl.LazyFrame) -> pl.LazyFrame:
    """An input column that is called as ours is gets another name, as such columns do in the results."""
    names = rows.collect_schema().names()
    return rows.rename(dict(zip(names, input_names(names, [NAME]), strict=True)))


class _Difference(NamedTuple):
    """A column, or a member of one, and its two types."""

    name: str
    a: _Type
    b: _Type


def _differing(name: str, a: _Type, b: _Type) -> _Difference | None:
    """What no type holds exactly."""
    if a == b:
        return None
    if isinstance(a, pl.Struct) and isinstance(b, pl.Struct):
        theirs = {field.name: field.dtype for field in b.fields}
        both = [field for field in a.fields if field.name in theirs]
        found = (_differing(f"{name}.{field.name}", field.dtype, theirs[field.name]) for field in both)
        return next(filter(None, found), None)
    if isinstance(a, pl.List) and isinstance(b, pl.List):
        return _differing(name, a.inner, b.inner)
    if isinstance(a, pl.Enum) and isinstance(b, pl.Enum):
        return _Difference(name, a, b)
    exact = widened(*(plain(pl.Series(dtype=kind).to_arrow().type) for kind in (a, b)))
    return None if exact else _Difference(name, a, b)
