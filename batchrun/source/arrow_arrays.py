"""Python values as Arrow arrays under a type that was inferred for them, or asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from batchrun import codec
from batchrun.errors import InputError
from batchrun.source.overrides import OVERRIDES, mark
from batchrun.source.rows import Row


def array(rows: list[Row], field: pa.Field) -> pa.Array:
    """The column `field` of `rows`; null where a row has no such key, or no values.

    A lone surrogate, which UTF-8 cannot carry, becomes U+FFFD here (`Row.values` keeps it, and so
    does JSON text, as an escape). Raises InputError for a value that does not fit `input.types`.
    """
    values = [row.values.get(field.name) for row in rows]
    if mark(field):
        values = [_forced(row, field, value) for row, value in zip(rows, values, strict=True)]
    elif encode := _encoder(field):
        values = [encode(value) for value in values]
    try:
        return pa.array(values, field.type)
    except UnicodeEncodeError:
        return pa.array([_scrubbed(value) for value in values], field.type)


def _forced(row: Row, field: pa.Field, value: Any) -> Any:
    if value is None:
        return None
    kind = mark(field) or "json"
    try:
        return OVERRIDES[kind][1](value)
    except (ValueError, TypeError) as error:  # TypeError: a Parquet value that JSON has no form for
        raise InputError(
            f"{row.location}: column {field.name!r} holds {shown(value)}, which {error}",
            hint=f"correct the line, or change input.types.{field.name} (now {kind})",
        ) from error


def shown(value: Any) -> str:
    """`value` as a message can carry it: one line, at most 80 characters."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _encoder(field: pa.Field) -> Callable[[Any], Any] | None:
    """What turns a value of `field` into one that Arrow takes: JSON text where the type says so."""
    if kind := mark(field):
        convert = OVERRIDES[kind][1]
        return lambda value: None if value is None else convert(value)
    if pa.types.is_list(field.type):
        item = _encoder(field.type.value_field)
        return item and (lambda value: None if value is None else [item(part) for part in value])
    if pa.types.is_struct(field.type):
        return _struct_encoder(field.type)
    return None


def _struct_encoder(kind: pa.StructType) -> Callable[[Any], Any] | None:
    members = {member.name: encode for member in kind if (encode := _encoder(member))}

    def encoded(value: dict[str, Any] | None) -> dict[str, Any] | None:
        changed = {name: encode(value.get(name)) for name, encode in members.items()} if value else {}
        return None if value is None else {**value, **changed}

    return encoded if members else None


def _scrubbed(value: Any) -> Any:
    if type(value) is str:
        return codec.scrubbed(value)
    if type(value) is list:
        return [_scrubbed(part) for part in value]
    if type(value) is dict:
        return {name: _scrubbed(part) for name, part in value.items()}
    return value
