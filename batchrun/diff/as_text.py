"""Values as the texts by which they are compared: equal texts are equal values.

A text is itself, a bool `true` or `false`, a whole number has no point. Lists and structs are JSON with
sorted keys and without members that are null: one that is missing reads as null, too. Null stays null.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from batchrun import codec
from batchrun.wording import plain

_EXACT = 2**53


def text_of(value: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """The text of a value of any column."""
    if kind.is_float() or kind.is_nested() or isinstance(kind, pl.Binary | pl.Duration):
        return value.map_batches(_of_values, return_dtype=pl.String)
    return value.cast(pl.String)


def text_of_json(text: pl.Expr) -> pl.Expr:
    """The text of the value that JSON text holds; what is no JSON stays as it is."""
    return text.map_batches(_of_json, return_dtype=pl.String)


def _of_values(values: pl.Series) -> pl.Series:
    texts = [spelled(plain(value)) for value in values.to_list()]
    return pl.Series(values.name, texts, dtype=pl.String)


def _of_json(values: pl.Series) -> pl.Series:
    texts = [None if text is None else spelled(loaded(text)) for text in values.to_list()]
    return pl.Series(values.name, texts, dtype=pl.String)


def loaded(text: str) -> Any:
    """The value that JSON text holds, or the text."""
    try:
        return codec.loads(text.encode())
    except ValueError:
        return text


def spelled(value: Any) -> str | None:
    """The text of a JSON value."""
    if value is None or isinstance(value, str):
        return value
    return codec.canonical(_plainest(value)).decode()


def _plainest(value: Any) -> Any:
    """A value without what makes no difference: null members, and points of whole numbers."""
    if isinstance(value, dict):
        return {key: _plainest(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plainest(item) for item in value]
    whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
    return int(value) if whole else value
