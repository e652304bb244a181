"""The types that a file declares for its columns, as polars has them for the Python values of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import polars as pl


def declared_types(schema: Any, columns: Sequence[str]) -> dict[str, pl.DataType]:
    """The types of some `columns` of an Arrow schema; what polars has otherwise than Python is left out."""
    found: dict[str, pl.DataType] = {}
    empty = schema.empty_table()
    for name in columns:
        if name not in schema.names or _is_read_otherwise(schema.field(name).type):
            continue
        with suppress(pl.exceptions.PolarsError, ValueError, TypeError):  # a type that polars does not have
            kind = _as_python_has_it(pl.DataFrame(empty.select([name])).schema[name])
            if kind is not None:
                found[name] = kind
    return found


def _is_read_otherwise(kind: Any) -> bool:
    """Whether polars reads an Arrow type as another one than Python, as UUIDs as their bytes."""
    is_extension = hasattr(kind, "extension_name")
    return is_extension or any(_is_read_otherwise(kind.field(at).type) for at in range(kind.num_fields))


def _as_python_has_it(kind: Any) -> pl.DataType | None:
    """One integer and one float, so that a sum is the same whatever the file keeps them in."""
    if kind.is_integer():
        return pl.Int128() if kind == pl.UInt64 else pl.Int64()
    if kind.is_float():
        return pl.Float64()
    if isinstance(kind, pl.Datetime):
        is_offset = (kind.time_zone or "").startswith("Etc/")  # which values of Python have in UTC
        return None if is_offset else pl.Datetime("us", kind.time_zone)
    if isinstance(kind, pl.Duration):
        return pl.Duration("us")
    if isinstance(kind, pl.Categorical | pl.Enum):
        return pl.String()
    if isinstance(kind, pl.List | pl.Array):
        inner = _as_python_has_it(kind.inner)
        return None if inner is None else pl.List(inner)
    if isinstance(kind, pl.Struct):
        members = {one.name: _as_python_has_it(one.dtype) for one in kind.fields}
        known = {name: inner for name, inner in members.items() if inner is not None}
        return pl.Struct(known) if len(known) == len(members) else None
    if isinstance(kind, pl.Decimal):
        return pl.Decimal(38, kind.scale)
    plain = (pl.String, pl.Boolean, pl.Binary, pl.Date, pl.Time)
    return kind if isinstance(kind, plain) else None


def as_declared(values: Sequence[Any], kind: pl.DataType) -> Sequence[Any]:
    """Values as a column of that type has them: to the microsecond, where nanoseconds made them texts."""
    if not isinstance(kind, pl.Datetime):
        return values
    return [datetime.fromisoformat(value) if type(value) is str else value for value in values]
