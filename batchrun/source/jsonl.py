"""JSON Lines: each line that is not blank is one row, a JSON object.

Lines end in b"\\n" alone, and a b"\\r" before it is white space to JSON. Of a key that stands twice
in an object the last value counts, as with every common JSON reader.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from batchrun.codec import encodable, loads
from batchrun.source.batch import MAX_ROWS, Batch, Reading
from batchrun.source.files import SourceFile
from batchrun.source.marks import Mark
from batchrun.source.rows import Row, bad_row
from batchrun.source.stream import MAX_LINE, Overlong, chunks, split_lines

Check: TypeAlias = Callable[[dict[str, Any]], None]
"""Raises ValueError, with the reason, for an object that is no row of its format."""

MAX_DEPTH = 200
"""Nesting of a row: what is deeper can be read, but not written again by orjson (254) or json."""


def read(
    file: SourceFile,
    first: int,
    columns: Collection[str] | None,
    *,
    limit: int = MAX_LINE,
    check: Check | None = None,
    kept: str | None = None,
    start: int = 0,
    mark: Mark | None = None,
) -> Reading:
    """Yield the file's rows, numbered from `first`; see `Source.batches`. `mark` is where to begin.

    `check` may refuse a row, of which the column `kept` stays: it names the row.
    """
    row = partial(_row, hive=dict(file.hive), columns=columns, check=check, kept=kept)
    number, offset = (mark.line, mark.offset) if mark else (0, 0)
    rows: list[Row] = []
    for lines in split_lines(chunks(file, offset=offset), limit):
        for line in lines:
            number += 1
            if not line or (isinstance(line, bytes) and line.isspace()):
                continue
            if first >= start:
                rows.append(row(line, first, f"{file.name}:{number}"))
            first += 1
            if len(rows) == MAX_ROWS:
                yield Batch(rows, columns)
                rows = []
        if rows:
            yield Batch(rows, columns)
            rows = []
    return first


def _row(
    line: bytes | Overlong,
    index: int,
    location: str,
    *,
    hive: dict[str, str | None],
    columns: Collection[str] | None,
    check: Check | None,
    kept: str | None,
) -> Row:
    if isinstance(line, Overlong):
        return bad_row(index, location, f"the line is too long ({line.size:,} bytes)", line.raw)
    try:
        values = loads(line)
        _refuse(values, line)
    except ValueError as error:
        return bad_row(index, location, f"no JSON object: {error}", line)
    if check:
        try:
            check(values)
        except ValueError as error:
            refused = bad_row(index, location, str(error), line)
            named = {kept: values[kept]} if kept and isinstance(values.get(kept), str) else {}
            return replace(refused, values=named)
    if hive:
        values.update(hive)
    if columns is not None:
        values = {name: value for name, value in values.items() if name in columns}
    return Row(index, values, location)


def _refuse(values: Any, line: bytes) -> None:
    """Raise ValueError for JSON that is no row."""
    if type(values) is not dict:
        raise ValueError(f"the line is {_KINDS[type(values)]}")
    # Both are rare, and counting bytes is cheap: the walk is left to the lines that could need it.
    opened = len(line) if len(line) <= MAX_DEPTH else line.count(b"{") + line.count(b"[")
    if opened > MAX_DEPTH and deeper(values, MAX_DEPTH):
        raise ValueError(f"nested too deeply (more than {MAX_DEPTH} levels)")
    if b"\\u" in line and (b"\\ud" in line or b"\\uD" in line) and not all(map(encodable, values)):
        raise ValueError("a key holds a lone surrogate, which no column name can")


_KINDS = {
    list: "an array; JSON Lines has one object a line (jq -c '.[]' turns an array into lines)",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def deeper(value: Any, depth: int) -> bool:
    """Whether lists and dicts are nested more than `depth` levels. Takes no stack, however deep they are."""
    level = [value]
    for _ in range(depth):
        inner = (child for node in level for child in (node.values() if type(node) is dict else node))
        level = [child for child in inner if type(child) is dict or type(child) is list]
        if not level:
            return False
    return True
