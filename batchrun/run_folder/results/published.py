"""The published results, a row group at a time: answers may be large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from batchrun.run_folder.damaged import readable


def published_groups(results: Path, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """These columns of the parts below `results`; nothing before anything has been published.

    Raises RunFolderError where a part is damaged.
    """
    for part in sorted(results.glob("*.parquet")):
        with readable(part), pq.ParquetFile(part, pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                yield pl.DataFrame(file.read_row_group(group, columns=list(columns), use_threads=False))
