"""Sealed parts of older formats: their columns made anew from the records in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from batchrun.run_folder.checkpoint.sealed import (
    SEALED_SCHEMA,
    histories,
    schema_with,
    sealed_groups,
    sealed_parts,
    write_parquet,
)
from batchrun.run_folder.checkpoint.spend import finished_spends, part_spends
from batchrun.run_folder.damaged import readable
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.parquet import scan_files


def upgrade_parts(folder: Path) -> None:
    """Give every sealed part of a checkpoint the form of this version; the holder of the lock may do it.

    Each is replaced by one rename and keeps its rows in their places: what a kill leaves is whole.
    Raises StorageError when the disk refuses it.
    """
    for path in sealed_parts(folder).values():
        if is_older(path):
            spends = part_spends(path) or finished_spends(_tasks(path))
            write_parquet(sealed_groups(_tasks(path)), path, schema_with(spends))


def is_older(path: Path) -> bool:
    """Whether a sealed part has other columns or types than ours."""
    with readable(path):
        return not pq.read_schema(path).remove_metadata().equals(SEALED_SCHEMA)


def scan_part(path: Path) -> pl.LazyFrame:
    """The rows of a sealed part by SEALED_SCHEMA, whichever version wrote it. Changes nothing on disk."""
    if not is_older(path):
        return scan_files(path)
    return pl.DataFrame(pa.concat_tables([SEALED_SCHEMA.empty_table(), *sealed_groups(_tasks(path))])).lazy()


def _tasks(path: Path) -> Iterator[History]:
    """The records of the part's rows, of one row group after another."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            yield from histories(file.read_row_group(group, columns=["_records"]))
