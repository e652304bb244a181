"""The rows of one results part, a piece at a time: a bucket of row_index may be larger than memory is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from batchrun.chat.transcript import flattened
from batchrun.index import Identifier
from batchrun.outcome import Error
from batchrun.render.request import RowRequest
from batchrun.run_folder.checkpoint.gathered import AT_ONCE_BYTES
from batchrun.run_folder.columns.layout import Layout
from batchrun.source import Row

BUCKET = 5_000
"""Input rows of one results part."""

PIECE = 500
PIECE_BYTES = 4_000_000
"""Rows that are joined with their answers at a time, fewer where their inputs take so many bytes, or their
answers AT_ONCE_BYTES."""


@dataclass(slots=True)
class Piece:
    """Some rows of one results part, taken while the input goes by.

    `rows` are the answered rows of the bucket from the first of the piece on.
    """

    number: int
    rows: pl.DataFrame
    inputs: list[pa.Table] = field(default_factory=list)
    row_ids: list[str] = field(default_factory=list)
    added: list[dict[str, Any]] = field(default_factory=list)
    answers: int = 0
    """Bytes of their answers, about."""

    @property
    def frame(self) -> pl.DataFrame:
        """The rows that it has."""
        return self.rows.head(len(self.row_ids))

    @property
    def is_full(self) -> bool:
        """Whether it is to be joined now."""
        inputs = sum(table.nbytes for table in self.inputs)
        return len(self.row_ids) >= PIECE or inputs >= PIECE_BYTES or self.answers >= AT_ONCE_BYTES

    def take(
        self, rows: list[Row], inputs: pa.Table, answers: int, layout: Layout, identifier: Identifier
    ) -> None:
        """Take rows with their carried columns, and the bytes of their answers."""
        self.inputs.append(inputs)
        self.answers += answers
        for row in rows:
            found = identifier.identify(row) if layout.renders else None
            self.row_ids.append(identifier.row_id(row))
            if found is not None:
                self.added.append({} if isinstance(found.request, Error) else _added(found.request, layout))

    def next(self) -> Piece:
        """The one after it, without a row."""
        return Piece(self.number, self.rows.slice(len(self.row_ids)))

    def rest(self) -> Iterator[Piece]:
        """The last of its bucket, unless nothing was left for it."""
        assert len(self.row_ids) == len(self.rows), "the source gives the rows that it gave before, or raises"
        if self.row_ids:
            yield self


def _added(request: RowRequest, layout: Layout) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if layout.prompts:
        values["messages"] = [flattened(message) for message in request.shown(request.messages)]
    return values | ({"request": request} if layout.raw else {})


def buckets(states: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """The answered rows of each bucket that has any, in order, without a copy of them all.

    A negative part is a journal file's that the disk had no room to seal: published next time.
    """
    indices = states["row_index"]
    start = 0
    while start < len(indices):
        number = indices[start] // BUCKET
        end = indices.search_sorted((number + 1) * BUCKET, side="left")
        answered = states.slice(start, end - start).filter(pl.col("part") > 0)
        if len(answered):
            yield number, answered
        start = end
