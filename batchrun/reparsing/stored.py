"""The records of stored answers in the order of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import polars as pl

from batchrun.run_folder.checkpoint.checkpoint import Checkpoint
from batchrun.run_folder.checkpoint.gathered import Gathered, answers_of_rows, is_scattered, portions
from batchrun.run_folder.checkpoint.sealed import PartReader, histories
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.results.bucket import buckets

AT_ONCE = 100
"""Rows whose records are read at once."""

_RECORDS = ["_records"]


def stored(checkpoint: Checkpoint, rows: pl.DataFrame) -> Iterator[History]:
    """The finished tasks at `part` and `position` of `rows`, one for each, also those not sealed yet."""
    sealed, unsealed = rows.filter(pl.col("part") > 0), rows.filter(pl.col("part") < 0)
    parts = PartReader(checkpoint.folder, _RECORDS)
    gathered: Gathered | None = None
    if is_scattered(some["part"] for _number, some in buckets(sealed)):
        gathered = Gathered(sealed, parts, _RECORDS, checkpoint.folder / "gathered.tmp")
        sealed, own, parts = gathered.rows, parts, gathered.parts
        own.close()
    try:
        places = pl.concat(
            [one.select("row_index", "part", pl.col("position").cast(pl.Int64)) for one in (sealed, unsealed)]
        )
        for some in places.sort("row_index").iter_slices(AT_ONCE):
            yield from _some(checkpoint, some, parts)
    finally:
        parts.close()
        if gathered:
            gathered.close()


def _some(checkpoint: Checkpoint, rows: pl.DataFrame, parts: PartReader) -> Iterator[History]:
    sealed = rows.filter(pl.col("part") > 0)
    found = chain.from_iterable(
        histories(answers_of_rows(portion, parts)) for portion, _size in portions(sealed, parts, AT_ONCE)
    )
    for part, position in rows.select("part", "position").iter_rows():
        yield next(found) if part > 0 else checkpoint.unsealed[-part][position]
