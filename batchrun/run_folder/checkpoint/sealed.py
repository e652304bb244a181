"""Sealed parts: finished tasks as Parquet files that are never changed again.

A sealed part holds the results' columns, the row's identity (`_task`, `_key`, `_hash`) and its
journal lines with the raw bodies (`_records`), sorted by row, in row groups of some megabytes, so that
both what is done and one range of rows are read without the rest.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from batchrun.codec import hash_prefix
from batchrun.outcome import ERROR_TYPES, Failed, Response
from batchrun.run_folder import checksum
from batchrun.run_folder.checkpoint.row_groups import Groups, pieces, row_groups
from batchrun.run_folder.checkpoint.spend import Spends, finished_spends, footer
from batchrun.run_folder.columns.arrays import list_array
from batchrun.run_folder.columns.columns import RESULT_SCHEMA
from batchrun.run_folder.columns.values import result_table
from batchrun.run_folder.damaged import readable
from batchrun.run_folder.disk import replacing
from batchrun.run_folder.journal.format_version import check_stamp, stamp
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.lines import decode
from batchrun.run_folder.journal.reading import Damage, JournalReader
from batchrun.run_folder.journal.records import Admitted, Answered, Header, Sent

_OPEN_FILES = 2
"""Parts that are open at once: the decoded metadata of many takes more memory than their rows."""

SEALED_SCHEMA = pa.schema(
    [
        *RESULT_SCHEMA,
        ("_task", pa.int64()),
        ("_key", pa.uint64()),
        ("_hash", pa.uint64()),
        ("_records", pa.list_(pa.binary())),
    ]
)

ANSWERS_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "part": pl.Int32,
    "position": pl.UInt32,
    "task": pl.Int64,
    "key": pl.UInt64,
    "hash": pl.UInt64,
    "ok": pl.Boolean,
    "error_type": pl.Enum(ERROR_TYPES),
}
"""What is done, a line for each finished task: where it lies, whose it is, how it ended."""

_NAME = re.compile(r"sealed-(\d{6})\.parquet")


def sealed_parts(folder: Path) -> dict[int, Path]:
    """The sealed parts of a checkpoint by number, oldest first."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return dict(sorted((int(match[1]), path) for match, path in found if match))


class JournalContents:
    """One closed journal file, read into finished and unfinished tasks."""

    def __init__(self, path: Path) -> None:
        reader = JournalReader(path)
        self.finished: list[History] = []
        self.unfinished: dict[int, History] = {}
        self.admitted: dict[str, object] = {}
        self.sent: list[Sent] = []
        self.back_offs: list[tuple[Sent, Answered]] = []
        for record, line in reader.records():
            if isinstance(record, Admitted):  # it knows of all calls before it
                self.admitted = record.state
                self.sent.clear()
                self.back_offs.clear()
                continue
            assert not isinstance(record, Header)
            history = self.unfinished.get(record.task)
            if history is None:
                history = self.unfinished[record.task] = History()
            history.add(record, line)
            if isinstance(record, Sent):
                self.sent.append(record)
            elif isinstance(record, Answered) and record.call in history.sent and _asks_to_wait(record):
                self.back_offs.append((history.sent[record.call], record))
            if history.done and history.is_whole:
                self.finished.append(self.unfinished.pop(record.task))
        for history in self.unfinished.values():
            history.reopen()
        self.damage: Sequence[Damage] = reader.damage


def _asks_to_wait(answered: Answered) -> bool:
    """Whether the server said, or may have said in words, when to come back."""
    response = answered.exchange
    if not isinstance(response, Response) or response.status < 300:
        return False
    return response.status == 429 or any("retry-after" in name for name in response.headers)


def seal(finished: list[History], folder: Path, number: int) -> Path | None:
    """Write finished tasks as sealed part `number`; None when there is none. Durable on return."""
    if not finished:
        return None
    path = folder / f"sealed-{number:06d}.parquet"
    ordered = sorted(finished, key=lambda history: history.done.row if history.done else 0)
    write_parquet(sealed_groups(ordered), path, schema_with(finished_spends(finished)))
    return path


def sealed_groups(finished: Iterable[History]) -> Iterator[pa.Table]:
    """Finished tasks as the row groups of a sealed part, in the order given."""
    return row_groups(map(sealed_table, pieces(finished)))


def schema_with(spends: Spends) -> pa.Schema:
    """The schema of a sealed part whose tasks took that."""
    return SEALED_SCHEMA.with_metadata({**footer(spends), **stamp()})


def sealed_table(histories: list[History]) -> pa.Table:
    """The rows of a sealed part, in the order given."""
    table = result_table(histories)
    done = [history.done for history in histories if history.done]
    columns = [
        pa.array([item.task for item in done], pa.int64()),
        pa.array([item.key for item in done], pa.uint64()),
        pa.array([hash_prefix(item.request_hash) for item in done], pa.uint64()),
        list_array([history.lines for history in histories], _binary, pa.list_(pa.binary())),
    ]
    return pa.Table.from_arrays([*table.columns, *columns], schema=SEALED_SCHEMA)


def _binary(values: list[bytes]) -> pa.Array:
    return pa.array(values, pa.binary())


def write_parquet(tables: Iterable[pa.Table], path: Path, schema: pa.Schema) -> None:
    """Write each table as a row group of a file that is there whole or not at all, also after a power cut.

    Raises StorageError when the disk refuses it.
    """
    unfinished = path.with_suffix(".tmp")
    with replacing(path, unfinished):
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # Arrow would make it 0666
        with pq.ParquetWriter(unfinished, schema, compression="zstd", write_page_checksum=True) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=max(1, table.num_rows))
            writer.add_key_value_metadata(checksum.place())
        checksum.fill_in(unfinished)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())


def read_answers(folder: Path) -> pl.DataFrame:
    """What all sealed parts of a checkpoint hold, by ANSWERS_SCHEMA, from five columns of each.

    Raises RunFolderError when a newer batchrun wrote one, or one is damaged.
    """
    columns = ["_task", "_key", "_hash", "status", "error_type"]
    found: dict[str, list[pl.Series]] = {name: [] for name in ANSWERS_SCHEMA}
    for number, path in sealed_parts(folder).items():
        with readable(path), pq.ParquetFile(path, pre_buffer=False) as file:
            check_stamp(file.metadata.metadata, path)
            rows = pl.DataFrame(file.read(columns, use_threads=False))
        for column in answers_of(number, rows):
            found[column.name].append(column)
    answers = pl.DataFrame(
        # one after the other, so that the parts' own go as the whole grows
        pl.concat([pl.Series(name, [], kind), *found.pop(name)], rechunk=True)
        for name, kind in ANSWERS_SCHEMA.items()
    )
    pa.default_memory_pool().release_unused()  # 25 MB at a million rows
    return answers


def answers_of(part: int, frame: pl.DataFrame) -> pl.DataFrame:
    """The lines of ANSWERS_SCHEMA for the rows of one sealed part."""
    return frame.select(
        pl.lit(part, pl.Int32).alias("part"),
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("position"),
        pl.col("_task").alias("task"),
        pl.col("_key").alias("key"),
        pl.col("_hash").alias("hash"),
        (pl.col("status") == "ok").alias("ok"),
        pl.col("error_type").cast(pl.Enum(ERROR_TYPES)),
    )


def finished_answers(part: int, finished: Sequence[History]) -> pl.DataFrame:
    """The same for tasks that are not sealed yet, from their last records alone."""
    done = [history.done for history in finished if history.done]
    failed = [item.outcome.error.type if isinstance(item.outcome, Failed) else None for item in done]
    columns: dict[str, list[Any]] = {
        "part": [part] * len(done),
        "position": list(range(len(done))),
        "task": [item.task for item in done],
        "key": [item.key for item in done],
        "hash": [hash_prefix(item.request_hash) for item in done],
        "ok": [error is None for error in failed],
        "error_type": failed,
    }
    return pl.DataFrame(columns, schema=ANSWERS_SCHEMA)


class PartReader:
    """Rows of sealed parts by position, keeping the row groups last read, up to `kept` bytes."""

    def __init__(self, folder: Path, columns: list[str], *, kept: int = 8_000_000) -> None:
        self._paths = sealed_parts(folder)
        self._columns = columns
        self._kept = kept
        self._files: dict[int, pq.ParquetFile] = {}
        self._layouts: dict[int, Groups] = {}
        self._groups: dict[tuple[int, int], tuple[pa.Table, int]] = {}
        """Each with its bytes, which Arrow adds up anew each time it is asked."""

    def take(self, part: int, positions: Iterable[int]) -> pa.Table:
        """The rows of one part at `positions` (ascending), in that order."""
        starts = self.layout(part).starts
        by_group: dict[int, list[int]] = {}
        for position in positions:
            group = bisect_right(starts, position) - 1
            by_group.setdefault(group, []).append(position - starts[group])
        return pa.concat_tables([_taken(self._group(part, group), at) for group, at in by_group.items()])

    def layout(self, part: int) -> Groups:
        """Where the row groups of a part begin, and how large they are."""
        if part not in self._layouts:
            self._layouts[part] = Groups.of(self._file(part).metadata)
        return self._layouts[part]

    def _group(self, part: int, group: int) -> pa.Table:
        found = self._groups.pop((part, group), None)
        if found is None:
            table = self._file(part).read_row_group(group, columns=self._columns, use_threads=False)
            found = table, table.nbytes
        self._groups[part, group] = found
        while len(self._groups) > 1 and sum(size for _, size in self._groups.values()) > self._kept:
            self._groups.pop(next(iter(self._groups)))
        return found[0]

    def _file(self, part: int) -> pq.ParquetFile:
        if part not in self._files:
            if len(self._files) == _OPEN_FILES:
                self._files.pop(next(iter(self._files))).close()
            self._files[part] = pq.ParquetFile(self._paths[part], pre_buffer=False)
        return self._files[part]

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()


def _taken(table: pa.Table, at: list[int]) -> pa.Table:
    """The rows at these places; those that follow each other are not copied."""
    follow = at == list(range(at[0], at[0] + len(at)))  # rows that share an answer have the same place
    return table.slice(at[0], len(at)) if follow else table.take(at)


def histories(table: pa.Table) -> Iterator[History]:
    """The records behind the rows of a sealed part, from its column `_records`."""
    for lines in table.column("_records").to_pylist():
        history = History()
        for line in lines:
            record = decode(line.removesuffix(b"\n"))
            assert not isinstance(record, Header | Admitted)
            history.add(record, line)
        yield history
