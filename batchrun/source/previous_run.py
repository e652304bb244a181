"""The ok rows of another run as rows: its input columns, and its answer as one struct, `previous`.

They are read from the published results, whose files never change. `row_id` is the other run's, and a
column of it that is called `previous` itself is a member of the struct: `previous.previous`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from batchrun.source import parquet
from batchrun.source.batch import Reading
from batchrun.source.files import SourceFile
from batchrun.source.kept import OnDisk

ROW_ID = "row_id"
PREVIOUS = "previous"
ANSWER = (
    *("row_id", "stale", "completion", "parsed", "refusal", "reasoning", "finish_reason", "tool_calls"),
    *("confidence", "probabilities", "messages", "annotations", "cost_usd", "model", "response_model"),
)
"""The results' columns that are members of `previous`."""

_STATUS = "status"


def described(parts: Sequence[Path], name: str) -> tuple[SourceFile, ...]:
    """The parts of a run's published results as files of an input; `name` is the run as the job spells it."""
    return tuple(SourceFile(OnDisk.found(path), f"{name}/results/{path.name}", "run", None) for path in parts)


def schema(files: tuple[SourceFile, ...]) -> pa.Schema:
    """The columns of the rows. Raises InputError for a damaged file."""
    results = parquet.schema(files)
    answer = pa.struct([results.field(name) for name in _members(results.names)])
    inputs = [results.field(name) for name in _inputs(results.names)]
    return pa.schema([results.field(ROW_ID), *inputs, pa.field(PREVIOUS, answer)])


def read(file: SourceFile, first: int, columns: Collection[str] | None, *, start: int = 0) -> Reading:
    """Yield the file's ok rows, numbered from `first`; see `Source.batches`."""
    try:
        with parquet.opened(file) as reader:
            names = reader.schema_arrow.names
            shown = [n for n in (ROW_ID, *_inputs(names)) if columns is None or n in columns]
            members = _members(names) if columns is None or PREVIOUS in columns else []
            wanted = list(dict.fromkeys([_STATUS, ROW_ID, *shown, *members]))
            groups, first = _groups_from(reader, first, start)
            for batch in reader.iter_batches(parquet.batch_rows(reader), groups, wanted, use_threads=False):
                rows = _ok(batch)
                if not rows.num_rows:
                    continue
                table = rows.select(shown)
                if members:
                    table = table.append_column(PREVIOUS, _struct(rows, members))
                yield parquet.ParquetBatch(table, first, _places(file, rows), {}, columns)
                first += rows.num_rows
    except (OSError, pa.ArrowException) as error:
        raise parquet.damaged(file, error) from error
    return first


def finished(files: Sequence[SourceFile]) -> tuple[int, int]:
    """How many rows there are, and how many of them are ok. Raises InputError for a damaged file."""
    rows = ok = 0
    for file in files:
        try:
            with parquet.opened(file) as reader:
                rows += reader.metadata.num_rows
                ok += sum(_ok_rows(reader, group) for group in range(reader.num_row_groups))
        except (OSError, pa.ArrowException) as error:
            raise parquet.damaged(file, error) from error
    return rows, ok


def _places(file: SourceFile, rows: pa.RecordBatch) -> list[str]:
    run = PurePosixPath(file.name).parent.parent
    return [f"{run}: row {row_id}" for row_id in rows.column(ROW_ID).to_pylist()]


def _inputs(names: Sequence[str]) -> list[str]:
    """The input's columns stand between `row_id` and `status`."""
    between = names[names.index(ROW_ID) + 1 : names.index(_STATUS)]
    return [name for name in between if name != PREVIOUS]


def _members(names: Sequence[str]) -> list[str]:
    """Columns that are members of `previous`."""
    return [name for name in (*ANSWER, PREVIOUS) if name in names]


def _groups_from(reader: pq.ParquetFile, first: int, start: int) -> tuple[list[int], int]:
    """The row groups from the one that holds row number `start` on, and the number of their first row."""
    for group in range(reader.num_row_groups):
        rows = _ok_rows(reader, group) if first < start else 0
        if first + rows >= start:
            return list(range(group, reader.num_row_groups)), first
        first += rows
    return [], first


def _ok_rows(reader: pq.ParquetFile, group: int) -> int:
    column = reader.read_row_group(group, columns=[_STATUS], use_threads=False).column(_STATUS)
    return sum(status == "ok" for status in column.to_pylist())


def _ok(batch: pa.RecordBatch) -> pa.RecordBatch:
    at = [place for place, status in enumerate(batch.column(_STATUS).to_pylist()) if status == "ok"]
    return batch if len(at) == batch.num_rows else batch.take(pa.array(at, pa.int64()))


def _struct(rows: pa.RecordBatch, members: list[str]) -> pa.Array:
    fields = [rows.schema.field(name) for name in members]
    return pa.StructArray.from_arrays([rows.column(name) for name in members], fields=fields)
