"""Rows as one Parquet file, typed as the results are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


def write(schema: pl.Schema, pieces: Iterable[pl.DataFrame], sink: IO[bytes]) -> None:
    """Write each piece as a row group."""
    fields = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), fields, compression="zstd") as writer:
        for piece in pieces:
            writer.write_table(piece.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(fields))
