"""Members of JSON text, whose kinds only the rows tell."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import polars as pl

from batchrun.diff.as_text import loaded, spelled
from batchrun.show.member import Member, splits


def kinds_of(texts: pl.Series, path: str) -> set[str]:
    """What kinds of values stand at `path` in JSON texts: `number`, `bool`, `text`, `other`."""
    return {_kind(value) for value in _members(texts, path) if value is not None}


def out_of_json(found: Member, kinds: set[str]) -> Member:
    """The value at `rest` in JSON text, where it is of one of these kinds; of several, as text."""
    only = next(iter(kinds)) if len(kinds) == 1 else "other"
    kind: pl.DataType = {"number": pl.Float64(), "bool": pl.Boolean()}.get(only, pl.String())
    read = partial(_column, path=found.rest, kind=kind)
    return Member(found.value.map_batches(read, return_dtype=kind), kind)


def _column(texts: pl.Series, path: str, kind: pl.DataType) -> pl.Series:
    values = _members(texts, path)
    found = [spelled(value) for value in values] if kind == pl.String else list(values)
    return pl.Series(texts.name, found, dtype=kind, strict=False)


def _members(texts: pl.Series, path: str) -> Iterator[Any]:
    for text in texts.to_list():
        yield None if text is None else _member(loaded(text), path)


def _member(value: Any, path: str) -> Any:
    if not path:
        return value
    for name, rest in splits(path):
        if isinstance(value, dict) and name in value:
            return _member(value[name], rest)
    return None


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "other"
