"""An input path as a source of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from batchrun.errors import InputError
from batchrun.source import csv_records, jsonl, openai_batch, parquet, previous_run
from batchrun.source.batch import Batch, Reading
from batchrun.source.column_types import ColumnTypes
from batchrun.source.files import Format, SourceFile, changed
from batchrun.source.finding import find_files
from batchrun.source.marks import Mark
from batchrun.source.rows import Row


class Reader(Protocol):
    """Reads one format: the rows of a file, numbered from `first`; see `Source.batches`."""

    def __call__(
        self, file: SourceFile, first: int, columns: Collection[str] | None, /, *, start: int
    ) -> Reading: ...


_READERS: dict[Format, Reader] = {
    "jsonl": jsonl.read,
    "csv": csv_records.read,
    "parquet": parquet.read,
    "openai-batch": openai_batch.read,
    "run": previous_run.read,
}


_MARKED = {"jsonl": jsonl.read, "openai-batch": openai_batch.read}
"""Those that can begin in the middle of a file."""


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of one or more files, which can be read any number of times."""

    files: tuple[SourceFile, ...]
    """In the order they are read. What each is kept as tells whether the input has changed."""
    declared: pa.Schema | None
    """The columns and types where the format says them (CSV, Parquet); None for lines of JSON."""

    @property
    def _is_openai_batch(self) -> bool:
        return self.files[0].format == "openai-batch"

    def batches(
        self, columns: Collection[str] | None = None, *, start: int = 0, mark: Mark | None = None
    ) -> Iterator[Batch]:
        """Yield the rows in order, up to 1,000 or some 256 kB of file at a time.

        With `columns`, values hold these alone; a column that a row lacks is no error here. The first batch
        holds row number `start`, and maybe some before it: what lies farther ahead is counted, not read.
        `mark`, one of `marks` at or before row number `start`, is where to begin.
        Memory is bounded by one batch and the longest line, whatever the size of the files.

        Raises InputError when a file is damaged, or is no longer the one that was opened.
        """
        wanted = None if columns is None else frozenset(columns)
        first = mark.row if mark else 0
        for file in self.files[mark.file if mark else 0 :]:
            _refuse_changed(file)
            reader = partial(_MARKED[file.format], mark=mark) if mark else _READERS[file.format]
            first = yield from _unchanged(file, reader(file, first, wanted, start=start))
            mark = None

    def rows_at(self, positions: Iterable[int], mark: Mark | None = None) -> Iterator[Row]:
        """The rows at these positions, ascending; those beyond the input's end are no more.

        Stops reading after the last one; `mark` as `batches` has it. Raises as `batches`.
        """
        wanted = iter(positions)
        position = next(wanted, None)
        if position is None:
            return
        for batch in self.batches(start=position, mark=mark):
            first, last = batch.rows[0].index, batch.rows[-1].index
            while position is not None and position <= last:
                yield batch.rows[position - first]
                position = next(wanted, None)
            if position is None:
                return

    def column_types(self, overrides: Mapping[str, str] | None = None) -> ColumnTypes:
        """What finds the column types in a pass over the batches; `overrides` is `input.types`."""
        usual = openai_batch.TYPES if self._is_openai_batch else None
        return ColumnTypes(self.declared, overrides, usual)


def open_source(path: str, *, root: Path, format: Format | None = None) -> Source:
    """The rows of a file, a glob or a folder; a relative `path` starts at `root`, the job's folder.

    `format` wins over the files' suffixes. Files are read as far as their columns are known: headers
    of CSV files, footers of Parquet files.

    Raises InputError when there is no file, or formats or columns do not go together.
    """
    files = find_files(path, root=root, format=format)
    if files[0].format == "parquet":
        return Source(files, with_hive(parquet.schema(files), files))
    if files[0].format == "csv":
        names = dict.fromkeys(name for file in files for name in csv_records.header(file))
        return Source(files, with_hive(pa.schema([pa.field(name, pa.string()) for name in names]), files))
    return Source(files, None)


def open_run(parts: Sequence[Path], name: str) -> Source:
    """The ok rows of another run, whose published results are `parts`; the job spells it `name`.

    Raises InputError for a damaged part.
    """
    files = previous_run.described(parts, name)
    return Source(files, previous_run.schema(files))


def with_hive(schema: pa.Schema, files: tuple[SourceFile, ...]) -> pa.Schema:
    """`schema` with the string columns of `key=value` folders, which win over a file's own."""
    keys = dict.fromkeys(key for file in files for key, _ in file.hive)
    own = [field for field in schema if field.name not in keys]
    return pa.schema([*own, *(pa.field(key, pa.string()) for key in keys)])


def _unchanged(file: SourceFile, reading: Reading) -> Reading:
    """The batches of a file, each read before the file changed: rows that move would be asked for twice."""
    while True:
        try:
            batch = next(reading)
        except StopIteration as end:
            _refuse_changed(file)
            rows: int = end.value
            return rows
        _refuse_changed(file)
        yield batch


def _refuse_changed(file: SourceFile) -> None:
    try:
        unchanged = file.kept.is_unchanged()
    except OSError as error:
        raise InputError(
            f"{file.name}: cannot be read any more: {error.strerror}",
            hint="submit again: answers to rows that stay the same are kept",
        ) from error
    if not unchanged:
        raise changed(file)
