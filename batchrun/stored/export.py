"""Stored completions as a Parquet file like a run's results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from batchrun.export import replacing
from batchrun.run_folder.checkpoint.row_groups import GROUP_BYTES
from batchrun.stored.filters import Filters
from batchrun.stored.place import Place
from batchrun.stored.rows import Rows
from batchrun.stored.verbs import Page, Say, list_pages


def export(
    place: Place,
    env: Mapping[str, str],
    filters: Filters,
    limit: int | None,
    out: Path,
    say: Say = lambda text: None,
) -> int:
    """Write the completions that are meant to the file `out`, which is there whole or not at all; how many.

    A page of them is held at a time. Raises as `verbs.with_stored` and `export.replacing`, and JobError.
    """
    rows = Rows.of(place)
    with replacing(out) as sink, _Groups(rows, sink, say) as groups:
        return list_pages(place, env, filters, limit, groups.add)


class _Groups:
    """Writes rows in row groups of a few megabytes."""

    def __init__(self, rows: Rows, sink: IO[bytes], say: Say) -> None:
        self._rows = rows
        self._say = say
        self._writer = pq.ParquetWriter(pa.PythonFile(sink, mode="w"), rows.schema(), compression="zstd")
        self._held: list[pa.Table] = []
        self._count = 0

    def __enter__(self) -> _Groups:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._write()
        self._writer.close()

    def add(self, page: Page) -> None:
        """Take some more completions."""
        if not page:
            return
        self._held.append(self._rows.table(page, self._count))
        self._count += len(page)
        if sum(table.nbytes for table in self._held) >= GROUP_BYTES:
            self._write()
            self._say(f"{self._count:,} written")

    def _write(self) -> None:
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held))
            self._held = []
