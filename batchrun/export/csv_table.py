"""Rows as CSV (RFC 4180, lines ended by a newline), with nothing in it that a spreadsheet would run.

A struct becomes a column for each member, `usage.prompt_tokens`; a list is JSON text, bytes are
base64, times ISO 8601. Null is an empty cell, an empty text a pair of quotes. A null in a table of one
column is a pair of quotes, too: readers skip an empty line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO

import polars as pl
import polars.selectors as cs

from batchrun.wording import json_line

_FORMULA = r"^(?:[\p{Cc}\p{Cf}\p{Z}]*[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]|[\t\r])"
"""What a spreadsheet may take for a formula: OWASP's CSV Injection, the full-width forms too. Characters
without a shape before it do not count, for some programs drop them."""

_NUMBER = r"^[+\-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+\-]?[0-9]+)?$"
"""Text that is a number runs nothing: a CSV's own columns are texts, and their -5 stays -5."""


def write(schema: pl.Schema, pieces: Iterable[pl.DataFrame], sink: IO[bytes]) -> None:
    """Write a line of names, and one for each row."""
    names: list[str] = []
    cells: list[pl.Expr] = []
    taken = set(schema.names())
    for path, cell in _cells(schema):
        name = ".".join(path)
        while len(path) > 1 and name in taken:  # a column of the input is called like that
            name += "_"
        taken.add(name)
        names.append(name)
        cells.append(cell.alias(str(len(cells))))
    header = pl.DataFrame({str(number): [name] for number, name in enumerate(names)})
    sink.write(_written(header.select(_guarded(pl.col(name)).alias(name) for name in header.columns)))
    for piece in pieces:
        sink.write(_written(piece.select(cells)))


def _written(cells: pl.DataFrame) -> bytes:
    null = '""' if cells.width == 1 else ""
    return cells.write_csv(include_header=False, quote_style="necessary", null_value=null).encode()


def _guarded(text: pl.Expr) -> pl.Expr:
    """Text with an apostrophe before it where it would be taken for a formula."""
    formula = text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER)
    return pl.when(formula).then(pl.lit("'") + text).otherwise(text)


def _cells(schema: pl.Schema) -> Iterator[tuple[tuple[str, ...], pl.Expr]]:
    """Each cell of a row with the path of names to it."""
    for name, kind in schema.items():
        yield from _of_value((name,), cs.by_name(name), kind)  # pl.col takes * and ^…$ for patterns


def _of_value(
    path: tuple[str, ...], value: pl.Expr, kind: pl.DataType
) -> Iterator[tuple[tuple[str, ...], pl.Expr]]:
    if isinstance(kind, pl.Struct) and kind.fields:
        numbers = [str(number) for number in range(len(kind.fields))]
        members = value.struct.rename_fields(numbers).struct  # names may be patterns here, too
        for number, field in zip(numbers, kind.fields, strict=True):
            assert isinstance(field.dtype, pl.DataType)
            yield from _of_value((*path, field.name), members.field(number), field.dtype)
    else:
        yield path, _cell(value, kind)


def _cell(value: pl.Expr, kind: pl.DataType) -> pl.Expr:
    if isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        return _guarded(value.cast(pl.String))
    if kind.is_numeric() or isinstance(kind, pl.Boolean | pl.Null):
        return value
    if isinstance(kind, pl.Duration):
        return _guarded(value.dt.to_string("iso"))
    if kind.is_temporal():
        return value.dt.to_string("iso:strict")
    if isinstance(kind, pl.Binary):
        return _guarded(value.bin.encode("base64"))
    return value.map_batches(_json, return_dtype=pl.String)


def _json(values: pl.Series) -> pl.Series:
    texts = [None if value is None else json_line(value) for value in values.to_list()]
    return pl.Series(values.name, texts, dtype=pl.String)
