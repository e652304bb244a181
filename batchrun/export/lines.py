"""Lines of JSON to a file, some at a time: of a table's rows, or of any documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import polars as pl

from batchrun.wording import json_line

_AT_ONCE = 256 * 1024
"""Bytes that are gathered before they are written."""


def write(_schema: pl.Schema, pieces: Iterable[pl.DataFrame], sink: IO[bytes]) -> None:
    """Write each row with all its columns."""
    write_lines((row for piece in pieces for row in piece.iter_rows(named=True)), sink)


@dataclass(frozen=True, slots=True)
class Written:
    """How much was written."""

    rows: int
    bytes: int


def write_lines(documents: Iterable[Mapping[str, Any]], sink: IO[bytes]) -> Written:
    """Write each document as a line of JSON to `sink`."""
    rows = size = held = 0
    lines: list[bytes] = []
    for document in documents:
        lines.append(f"{json_line(document)}\n".encode())
        rows += 1
        held += len(lines[-1])
        if held >= _AT_ONCE:
            sink.write(b"".join(lines))
            size, held = size + held, 0
            lines.clear()
    if lines:
        sink.write(b"".join(lines))
    return Written(rows, size + held)
