"""One schema for several Parquet files, where there is an exact one."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

from batchrun.errors import InputError
from batchrun.source.files import SourceFile

_EXACT_BITS = 32
"""Integers of at most this many bits fit float64 exactly."""


def common_schema(files: list[tuple[SourceFile, pa.Schema]]) -> pa.Schema:
    """The columns of all files, in order of first appearance; one that a file lacks is null there.

    Types that differ are widened where that is exact: among signed or unsigned integers, among
    floats, integers up to 32 bits with float64, nulls with anything. Dictionaries are read as their values,
    decimals of more than 38 digits, which polars reads no file with, as strings.

    Raises InputError that names both files and the column for every other difference.
    """
    fields: dict[str, pa.Field] = {}
    origin: dict[str, SourceFile] = {}
    for file, schema in files:
        for field in schema:
            found = pa.field(field.name, plain(field.type))
            known = fields.setdefault(field.name, found)
            joined = widened(known.type, found.type)
            if joined is None:
                raise _differs(field.name, origin[field.name], known.type, file, found.type)
            if not joined.equals(known.type) or field.name not in origin:
                fields[field.name], origin[field.name] = pa.field(field.name, joined), file
    return pa.schema([_typed(field) for field in fields.values()])


def plain(kind: pa.DataType) -> pa.DataType:
    """A dictionary's value type; a string for a long decimal, at any depth; any other type as it is."""
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    if pa.types.is_decimal256(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([_without_long_decimals(field) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_without_long_decimals(kind.value_field))
    return kind


def _without_long_decimals(field: pa.Field) -> pa.Field:
    return field if pa.types.is_dictionary(field.type) else field.with_type(plain(field.type))


def widened(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """The type that holds every value of both exactly, or None."""
    if a.equals(b) or pa.types.is_null(b):
        return a
    if pa.types.is_null(a):
        return b
    for family in (pa.types.is_signed_integer, pa.types.is_unsigned_integer, pa.types.is_floating):
        if family(a) and family(b):
            return a if a.bit_width >= b.bit_width else b
    for one, other in ((a, b), (b, a)):
        if pa.types.is_integer(one) and one.bit_width <= _EXACT_BITS and pa.types.is_float64(other):
            return other
        if pa.types.is_string(one) and pa.types.is_large_string(other):
            return other
    return None


def refuse_twice(file: SourceFile, schema: pa.Schema) -> None:
    """Raise InputError when a column name stands twice in `schema`."""
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise InputError(
            f"{file.name}: columns named more than once: {', '.join(map(repr, twice))}",
            hint="rename them and write the file again",
        )


def _typed(field: pa.Field) -> pa.Field:
    return pa.field(field.name, pa.string()) if pa.types.is_null(field.type) else field


def _differs(name: str, a: SourceFile, kind_a: pa.DataType, b: SourceFile, kind_b: pa.DataType) -> InputError:
    return InputError(
        f"column {name!r} is {kind_a} in {a.name}, but {kind_b} in {b.name}",
        hint="write both files with one type (polars: .cast), or read them in two jobs",
    )
