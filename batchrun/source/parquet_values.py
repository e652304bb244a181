"""Arrow columns as plain Python values.

Timestamps, dates, times, decimals and binaries become their Python objects, maps become dicts. A
timestamp with nanoseconds, which no datetime can hold, becomes its ISO 8601 text in UTC; a decimal of more
than 38 digits, which no column of polars can hold, its text. A row is a
bad row when one of its values has no Python form: text that is not UTF-8, a map that holds a key
twice, a year beyond 9999, nanoseconds inside a list or struct,
in a time of day or in a duration.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from batchrun.source.rows import Row, bad_row

_UNREADABLE = (ValueError, OverflowError, KeyError)
"""What pyarrow raises for a value that has no Python form."""


def rows_of(
    table: pa.RecordBatch, locations: list[str], first: int, hive: dict[str, str | None]
) -> list[Row]:
    """The rows of `table`, each with where it stands; `first` is the input position of the first one."""
    names = table.schema.names
    try:
        columns = [_values(column) for column in table.columns]
    except _UNREADABLE:
        # take, not slice: a cast looks at all items behind a sliced list, other rows' too
        return [_row(table.take([at]), hive, first + at, locations[at]) for at in range(table.num_rows)]
    records = zip(*columns, strict=True) if columns else [()] * table.num_rows
    return [
        Row(first + at, dict(zip(names, values, strict=True)) | hive, locations[at])
        for at, values in enumerate(records)
    ]


def _row(table: pa.RecordBatch, hive: dict[str, str | None], index: int, location: str) -> Row:
    values: dict[str, Any] = {}
    for name, column in zip(table.schema.names, table.columns, strict=True):
        try:
            values[name] = _values(column)[0]
        except _UNREADABLE as error:
            reason = f"column {name!r} has no readable value: {error}"
            return bad_row(index, location, reason, reason.encode(errors="replace"))
    return Row(index, values | hive, location)


def _values(column: pa.Array) -> list[Any]:
    if not pa.types.is_timestamp(column.type):
        exact = _as_read(column.type)
        column = column if exact == column.type else column.cast(exact)
        return column.to_pylist(maps_as_pydicts="strict")  # type: ignore[no-any-return] # pyarrow is untyped
    try:
        return column.cast(pa.timestamp("us", tz=column.type.tz)).to_pylist()  # type: ignore[no-any-return] # the same
    except _UNREADABLE:
        return [_moment(part) for part in column]


def _as_read(kind: pa.DataType) -> pa.DataType:
    """The same type in microseconds: nanoseconds become pandas' objects where pandas is installed; with texts
    for long decimals, as `parquet_schema.plain` has it."""
    if pa.types.is_decimal256(kind):
        return pa.string()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz=kind.tz) if kind.unit == "ns" else kind
    if pa.types.is_duration(kind):
        return pa.duration("us") if kind.unit == "ns" else kind
    if pa.types.is_time64(kind):
        return pa.time64("us")
    if pa.types.is_struct(kind):
        return pa.struct([member.with_type(_as_read(member.type)) for member in kind])
    if pa.types.is_map(kind):
        return pa.map_(_as_read(kind.key_type), _as_read(kind.item_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_item(kind), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(_item(kind))
    return pa.list_(_item(kind)) if pa.types.is_list(kind) else kind


def _item(kind: pa.DataType) -> pa.Field:
    return kind.value_field.with_type(_as_read(kind.value_type))


def _moment(value: pa.TimestampScalar) -> Any:
    """A datetime, or ISO 8601 text where nanoseconds leave none that exact."""
    if not value.is_valid:
        return None
    try:
        return value.cast(pa.timestamp("us", tz=value.type.tz)).as_py()
    except _UNREADABLE:
        if value.type.unit != "ns":
            raise
    utc = pa.scalar(value.value, pa.timestamp("ns")).cast(pa.string()).as_py()
    return f"{utc.replace(' ', 'T')}{'Z' if value.type.tz else ''}"
