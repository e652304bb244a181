"""Arrow columns as plain Python values.

Timestamps, dates, times, decimals and binaries become their Python objects, maps become dicts. A
timestamp with nanoseconds, which no datetime can hold, becomes its ISO 8601 text in UTC. A row is a
bad row when one of its values has no Python form: text that is not UTF-8, a map that holds a key
twice, a year beyond 9999, nanoseconds inside a list or struct.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from batchrun.source.rows import Row, bad_row

_UNREADABLE = (ValueError, OverflowError, KeyError)
"""What pyarrow raises for a value that has no Python form."""


def rows_of(table: pa.RecordBatch, name: str, first: int, row: int, hive: dict[str, str | None]) -> list[Row]:
    """The rows of `table`, whose first one has the input position `first` and the file position `row`."""
    locations = [f"{name}: row {row + at + 1}" for at in range(table.num_rows)]
    names = table.schema.names
    try:
        columns = [_values(column) for column in table.columns]
    except _UNREADABLE:
        return [_row(table.slice(at, 1), hive, first + at, locations[at]) for at in range(table.num_rows)]
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
        return column.to_pylist(maps_as_pydicts="strict")  # type: ignore[no-any-return] # pyarrow is untyped
    try:
        return column.cast(pa.timestamp("us", tz=column.type.tz)).to_pylist()  # type: ignore[no-any-return] # the same
    except _UNREADABLE:
        return [_moment(part) for part in column]


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
