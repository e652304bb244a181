"""Parquet files, types as they are; a huge row group is streamed page by page."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from batchrun.errors import InputError
from batchrun.source.batch import MAX_ROWS, Batch, Reading
from batchrun.source.files import SourceFile, changed
from batchrun.source.overrides import mark
from batchrun.source.parquet_schema import common_schema, refuse_twice
from batchrun.source.parquet_values import rows_of
from batchrun.source.rows import Row
from batchrun.storage import ChangedObjectError

BATCH_BYTES = 1024 * 1024
_BUFFER = 1024 * 1024


def schema(files: tuple[SourceFile, ...]) -> pa.Schema:
    """The columns of all files; see `parquet_schema.common_schema`. Raises InputError."""
    return common_schema([(file, _file_schema(file)) for file in files])


def read(file: SourceFile, first: int, columns: Collection[str] | None, *, start: int = 0) -> Reading:
    """Yield the file's rows, numbered from `first`; see `Source.batches`."""
    done = 0
    hive = {k: v for k, v in file.hive if columns is None or k in columns}
    try:
        with opened(file) as reader:
            own = [n for n in reader.schema_arrow.names if n not in dict(file.hive)]
            names = [n for n in own if columns is None or n in columns]
            groups, done = _groups_from(reader.metadata, start - first)
            # pre_buffer would hold whole column chunks: a file of one 216 MB row group then peaked at 221 MB.
            for table in reader.iter_batches(batch_rows(reader), groups, names, use_threads=False):
                places = [f"{file.name}: row {done + at + 1}" for at in range(table.num_rows)]
                # iter_batches takes "a.b" for the member of a struct, too
                yield ParquetBatch(table.select(names), first + done, places, hive, columns)
                done += table.num_rows
    except (OSError, pa.ArrowException) as error:
        raise damaged(file, error, f" after {done:,} rows") from error
    return first + done


def _groups_from(about: pq.FileMetaData, row: int) -> tuple[list[int], int]:
    """The row groups from the one that holds `row` on, and how many rows stand before them."""
    before = 0
    for group in range(about.num_row_groups):
        rows = about.row_group(group).num_rows
        if before + rows > row:
            return list(range(group, about.num_row_groups)), before
        before += rows
    return [], before


@contextmanager
def opened(file: SourceFile) -> Iterator[pq.ParquetFile]:
    """The file, read with little memory. Raises what pyarrow raises, and InputError where it has changed."""
    try:
        with file.kept.for_arrow() as source:
            yield pq.ParquetFile(
                source, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True
            )
    except ChangedObjectError as error:
        raise changed(file) from error


def _file_schema(file: SourceFile) -> pa.Schema:
    try:
        with opened(file) as reader:
            found = reader.schema_arrow
            str(found)  # decodes every name, of members too: a damaged one is found here, not row by row
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise damaged(file, error) from error
    refuse_twice(file, found)
    return found


def damaged(file: SourceFile, error: Exception, where: str = "") -> InputError:
    """What to raise where pyarrow could not read a file."""
    return InputError(
        f"{file.name}: no readable Parquet file{where}: {' '.join(str(error).split())}",
        hint="write or copy the file again; a file that was cut short has no footer and no rows",
    )


def batch_rows(reader: pq.ParquetFile) -> int:
    """How many rows make about `BATCH_BYTES` where the file's rows are largest."""
    groups = (reader.metadata.row_group(at) for at in range(reader.metadata.num_row_groups))
    widest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=1)
    return int(min(max(BATCH_BYTES / max(widest, 1), 1), MAX_ROWS))


class ParquetBatch(Batch):
    """Rows of a Parquet file, which keeps their Arrow form beside the Python one.

    `places` says where each of them stands (`Row.location`).
    """

    def __init__(
        self,
        table: pa.RecordBatch,
        first: int,
        places: list[str],
        hive: dict[str, str | None],
        columns: Collection[str] | None,
    ) -> None:
        super().__init__(rows_of(table, places, first, hive), columns)
        self._table = table
        self._hive = hive

    def _array(self, field: pa.Field) -> pa.Array:
        if field.name in self._hive or mark(field) == "json":
            return super()._array(field)
        if field.name not in self._table.schema.names:
            return pa.nulls(len(self.rows), field.type)
        column = _without_bad_rows(self._table.column(field.name), self.rows)
        return column if column.type == field.type else self._cast(column, field)

    def _cast(self, column: pa.Array, field: pa.Field) -> pa.Array:
        try:
            return column.cast(field.type)
        except pa.ArrowNotImplementedError as error:
            raise _misfit(self.rows[0], field, column.type, error) from error
        except pa.ArrowInvalid as error:
            at = next(at for at in range(len(column)) if not _casts(column[at : at + 1], field.type))
            raise _misfit(self.rows[at], field, column.type, error) from error


def _misfit(row: Row, field: pa.Field, found: pa.DataType, error: Exception) -> InputError:
    kind = mark(field) or field.type
    return InputError(
        f"{row.location}: column {field.name!r} is {found} and does not fit {kind}: {error}",
        hint=f"correct the value, or change input.types.{field.name} (now {kind})",
    )


def _casts(column: pa.Array, kind: pa.DataType) -> bool:
    try:
        column.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _without_bad_rows(column: pa.Array, rows: list[Row]) -> pa.Array:
    if not any(row.error for row in rows):
        return column
    # take, not if_else: it has a kernel for every type, nested ones too
    return column.take(pa.array([None if row.error else at for at, row in enumerate(rows)], pa.int64()))
