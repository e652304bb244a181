"""Answers in the order of their rows, for a publication, where they arrived in quite another order.

Parts are read by row groups. Where each results part needs some rows of most parts (`order: prefix`), they
are first sorted by some ten thousands into files of their own, beside the checkpoint's parts.
"""

from __future__ import annotations

import shutil
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import polars as pl
import pyarrow as pa

from batchrun.run_folder.checkpoint.row_groups import gathered, row_groups, sliced
from batchrun.run_folder.checkpoint.sealed import PartReader, write_parquet

RUN_BYTES = 32_000_000
"""Answers that are sorted at once."""

AT_ONCE = 500
AT_ONCE_BYTES = 16_000_000
"""Rows whose answers are read at once, fewer where these take so many bytes."""

_SCATTERED = 4
"""How often a part would be read, on average, that sorting is less work."""


def is_scattered(needed: Iterable[pl.Series]) -> bool:
    """Whether the same sealed parts would be read over and over: `needed` by each results part."""
    reads, parts = 0, set[int]()
    for part in needed:
        found = part.unique()
        reads += len(found)
        parts.update(found)
    return reads > _SCATTERED * len(parts)


class Gathered:
    """The answers of the rows of `frame`, sorted into files below `folder`, which is made anew.

    `rows` are those of `frame` with `part` and `position` in these files; `parts` reads them.
    """

    def __init__(self, frame: pl.DataFrame, parts: PartReader, columns: list[str], folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        self._folder = folder
        try:
            places = [
                self._sorted(number, rows, answers)
                for number, (rows, answers) in enumerate(_runs(frame.with_row_index("at"), parts), 1)
            ]
        except BaseException:  # a full disk has better use for the room
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.rows = frame.drop("part", "position").with_columns(pl.concat(places).sort("at").drop("at"))
        self.rows = self.rows.select(frame.columns)
        self.parts = PartReader(folder, columns)

    def _sorted(self, number: int, rows: pl.DataFrame, answers: pa.Table) -> pl.DataFrame:
        """Write one file; where each row is in it."""
        order = rows["at"].arg_sort()
        table = answers.take(order.to_arrow())
        write_parquet(row_groups(sliced(table)), self._folder / f"sealed-{number:06d}.parquet", table.schema)
        return pl.DataFrame({"at": rows["at"].gather(order)}).with_columns(
            part=pl.lit(number, pl.Int32), position=pl.int_range(pl.len(), dtype=pl.Int64)
        )

    def close(self) -> None:
        """Remove the files."""
        self.parts.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _runs(frame: pl.DataFrame, parts: PartReader) -> Iterator[tuple[pl.DataFrame, pa.Table]]:
    """Rows with their answers as they lie in the parts, so many as are sorted at once."""
    tables: list[pa.Table] = []
    ordered = frame.sort("part", "position")
    start = end = 0
    for rows, _size in portions(ordered, parts, AT_ONCE):
        tables.append(answers_of_rows(rows, parts))
        end += len(rows)
        if sum(table.nbytes for table in tables) >= RUN_BYTES or end == len(ordered):
            yield ordered.slice(start, end - start), pa.concat_tables(tables)
            tables, start = [], end


def portions(rows: pl.DataFrame, parts: PartReader, most: int) -> Iterator[tuple[pl.DataFrame, int]]:
    """The rows in slices of `most`, fewer where their answers are large, each with the bytes of these."""
    for some in rows.iter_slices(most):
        bound = len(some) * max(max(parts.layout(part).means) for part in some["part"].unique())
        if bound <= AT_ONCE_BYTES:  # as nearly always
            yield some, bound
            continue
        places = some.select("part", "position").iter_rows()
        sizes = [parts.layout(part).size(position) for part, position in places]
        start = 0
        for portion in gathered(sizes, int, AT_ONCE_BYTES):
            yield some.slice(start, len(portion)), sum(portion)
            start += len(portion)


def answers_of_rows(rows: pl.DataFrame, parts: PartReader) -> pa.Table:
    """The answers of rows, in their order."""
    places = list(zip(rows["part"].to_list(), rows["position"].to_list(), strict=True))
    ordered = sorted(places)
    tables = [
        parts.take(part, [position for _, position in found])
        for part, found in groupby(ordered, key=itemgetter(0))
    ]
    table = pa.concat_tables(tables)
    if ordered == places:  # as nearly always: rows are answered in about the order of the input
        return table
    return table.take([bisect_left(ordered, place) for place in places])
