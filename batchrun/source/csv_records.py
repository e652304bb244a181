"""CSV as RFC 4180 has it: a header, commas, quotes that may hold line ends; every column is a string.

An empty cell is null and a quoted empty one ("") is the empty string, as polars and DuckDB read them.
Blank lines are skipped.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain

from batchrun.errors import InputError
from batchrun.source.batch import MAX_ROWS, Batch, Reading
from batchrun.source.files import SourceFile
from batchrun.source.rows import Row, bad_row
from batchrun.source.stream import CHUNK, MAX_LINE, Overlong, chunks, split_lines

_CELL = re.compile(r'("[^"]*(?:""[^"]*)*"|[^,\r\n]*)(?:,|\r?\n|$)')


def header(file: SourceFile) -> tuple[str, ...]:
    """The column names in the file's first line that is not blank.

    Raises InputError when there is none, it cannot be read, or it names a column twice.
    """
    return _header(file, _Records(file))


def read(
    file: SourceFile,
    first: int,
    columns: Collection[str] | None,
    *,
    limit: int = MAX_LINE,
    start: int = 0,
) -> Reading:
    """Yield the file's rows, numbered from `first`; see `Source.batches`."""
    records = _Records(file, limit)
    names = _header(file, records)
    rows: list[Row] = []
    size = 0
    for record in records:
        if first >= start:
            rows.append(_row(file, records, record, names, columns, first))
            size += records.size
        first += 1
        if len(rows) == MAX_ROWS or size >= CHUNK:
            yield Batch(rows, columns)
            rows, size = [], 0
    if rows:
        yield Batch(rows, columns)
    return first


def _header(file: SourceFile, records: _Records) -> tuple[str, ...]:
    names = next(records, None)
    if names is None:
        raise InputError(f"{file.name}: the file is empty", hint="begin it with a line of column names")
    if isinstance(names, ValueError):
        raise InputError(
            f"{file.name}:{records.start}: the line of column names cannot be read: {names}",
            hint="write the table as UTF-8 CSV whose lines end in a newline",
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"{file.name}:{records.start}: columns named more than once: {', '.join(map(repr, twice))}",
            hint="rename them in the file's first line",
        )
    if len(names) == 1 and re.search(r"[;\t]", names[0]):
        raise InputError(
            f"{file.name}:{records.start}: one column named {names[0]!r}: only commas separate columns",
            hint="write the table with commas",
        )
    return tuple(names)


def _row(
    file: SourceFile,
    records: _Records,
    record: list[str] | ValueError,
    names: tuple[str, ...],
    columns: Collection[str] | None,
    index: int,
) -> Row:
    location = f"{file.name}:{records.start}"
    if isinstance(record, ValueError):
        return bad_row(index, location, f"no CSV record: {record}", records.raw)
    if len(record) != len(names):
        reason = f"the record has {len(record)} fields, the header {len(names)}"
        return bad_row(index, location, reason, records.raw)
    pairs = chain(zip(names, _cells(record, records), strict=True), file.hive)
    return Row(index, {k: v for k, v in pairs if columns is None or k in columns}, location)


def _cells(record: list[str], records: _Records) -> list[str | None]:
    if "" not in record:
        return [*record]
    if b'""' not in records.raw:
        return [cell or None for cell in record]
    # Python 3.11's csv does not say which empty cells were quoted: look at the text again.
    quoted = (match[1].startswith('"') for match in _CELL.finditer(records.raw.decode()))
    return [cell if cell or mark else None for cell, mark in zip(record, quoted, strict=False)]


class _Records:
    """The records of a file: lists of cells, or the ValueError that says why one is none.

    `start` is the line where the last record began, from 1, and `raw` its bytes.
    """

    def __init__(self, file: SourceFile, limit: int = MAX_LINE) -> None:
        # A field is bounded by the lines that are held for it, not by the module's 128 kB.
        csv.field_size_limit(max(csv.field_size_limit(), limit))
        self.start = 0
        self.size = 0
        self._file = file
        self._limit = limit
        self._lines = chain.from_iterable(split_lines(chunks(file), limit))
        self._number = 0
        self._held: list[bytes] = []
        self._encoding_error: UnicodeDecodeError | None = None
        self._reader = csv.reader(self._text(), strict=True)

    @property
    def raw(self) -> bytes:
        return b"".join(self._held)

    def __iter__(self) -> _Records:
        return self

    def __next__(self) -> list[str] | ValueError:
        while True:
            self._held, self.size, self._encoding_error = [], 0, None
            self.start = self._number + 1
            try:
                record = next(self._reader)
            except csv.Error as error:
                return self._failure(error)
            if self._encoding_error:
                byte = self._encoding_error.object[self._encoding_error.start]
                return ValueError(f"not UTF-8: byte {byte:#04x}")
            if record:
                return record

    def _text(self) -> Iterator[str]:
        for line in self._lines:
            self._number += 1
            self.size += line.size if isinstance(line, Overlong) else len(line) + 1
            if isinstance(line, Overlong) or self.size > self._limit:
                raise self._unclosed(f"is longer than {self._limit:,} bytes")
            ended = line + b"\n"
            self._held.append(ended)
            yield self._decoded(ended)

    def _decoded(self, line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            self._encoding_error = error
            return line.decode(errors="replace")

    def _failure(self, error: csv.Error) -> ValueError:
        text = str(error)
        if text == "unexpected end of data":
            if len(self._held) > 1:
                raise self._unclosed("never ends")
            text = "its quote is not closed before the end of the file"
        elif text.startswith("new-line character seen in unquoted field"):
            text = "a carriage return stands alone outside quotes"
        return ValueError(text)

    def _unclosed(self, fault: str) -> InputError:
        # One bad row would hide how many rows the open quote has swallowed: refuse the file.
        return InputError(
            f"{self._file.name}:{self.start}: the record that starts here {fault}: a quote is left open",
            hint='close the quote; a quote inside a quoted cell is written twice ("")',
        )
