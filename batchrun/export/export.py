"""Rows in the formats that other programs read, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import IO, Literal, get_args

import polars as pl
import polars.selectors as cs

from batchrun.export.csv_table import CsvTable
from batchrun.export.parquet_file import write_parquet
from batchrun.show.show import Chosen
from batchrun.wording import json_line

Format = Literal["csv", "jsonl", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export(chosen: Chosen, columns: list[str], form: Format, sink: IO[bytes]) -> int:
    """Write these columns of the rows to `sink`; how many rows there were.

    As many rows are held at a time as take a few megabytes.
    """
    schema = chosen.rows.select(cs.by_name(columns)).collect_schema()
    write_table(schema, chosen.pieces(columns), form, sink)
    return len(chosen.positions)


def write_table(schema: pl.Schema, pieces: Iterable[pl.DataFrame], form: Format, sink: IO[bytes]) -> None:
    """Write the rows of a table, some at a time, to `sink`."""
    _WRITERS[form](schema, pieces, sink)


def _write_csv(schema: pl.Schema, pieces: Iterable[pl.DataFrame], sink: IO[bytes]) -> None:
    table = CsvTable(schema)
    sink.write(table.header())
    for piece in pieces:
        sink.write(table.lines(piece))


def _write_jsonl(_schema: pl.Schema, pieces: Iterable[pl.DataFrame], sink: IO[bytes]) -> None:
    for piece in pieces:
        lines = [json_line(row) + "\n" for row in piece.iter_rows(named=True)]
        sink.write("".join(lines).encode())


_WRITERS: Mapping[Format, Callable[[pl.Schema, Iterable[pl.DataFrame], IO[bytes]], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": write_parquet,
}
