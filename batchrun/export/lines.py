"""Lines of JSON to a file, some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from batchrun.wording import json_line

_AT_ONCE = 256 * 1024
"""Bytes that are gathered before they are written."""


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
