"""A few rows at a time, as Python values and as an Arrow table."""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import TypeAlias

import pyarrow as pa

from batchrun.source.arrow_arrays import array
from batchrun.source.rows import Row

MAX_ROWS = 1000
"""Rows of the largest batch; wide rows make smaller ones."""


class Batch:
    """Consecutive rows of one file."""

    def __init__(self, rows: list[Row], columns: Collection[str] | None = None) -> None:
        self.rows = rows
        self._columns = columns

    def arrow(self, schema: pa.Schema) -> pa.Table:
        """The same rows under `schema` (see `ColumnTypes.schema`), a null row where a row has an error.

        Raises InputError for a value that does not fit `input.types`, and ValueError for a column
        that `Source.batches` was told to leave out.
        """
        left_out = [] if self._columns is None else [n for n in schema.names if n not in self._columns]
        if left_out:
            raise ValueError(f"the batch was read without the columns {left_out}")
        arrays = [self._array(field) for field in schema]
        return pa.Table.from_arrays(arrays, schema=schema) if arrays else _no_columns(len(self.rows))

    def _array(self, field: pa.Field) -> pa.Array:
        return array(self.rows, field)


Reading: TypeAlias = Generator[Batch, None, int]
"""The batches of one file; it gives the number of the row that would come next."""


def _no_columns(count: int) -> pa.Table:
    return pa.table({"": pa.nulls(count)}).select([])
