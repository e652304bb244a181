"""Writing and reading small inputs, as the tests of this folder do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from batchrun.source import Row, open_source


def write(path: Path, data: bytes) -> Path:
    """Write `data` to `path`, making its folder; return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def read_rows(path: Path, columns: list[str] | None = None) -> list[Row]:
    """All rows of the input at `path`, named as from its own folder."""
    source = open_source(path.name, root=path.parent)
    return [row for batch in source.batches(columns) for row in batch.rows]


def read_values(path: Path) -> list[dict[str, Any]]:
    """The values of all rows, of which none may be bad."""
    rows = read_rows(path)
    assert [row.error for row in rows if row.error] == []
    return [row.values for row in rows]


def read_table(path: Path, types: Mapping[str, str] | None = None) -> pa.Table:
    """The input as Arrow, under the types of a first pass over it."""
    source = open_source(path.name, root=path.parent)
    found = source.column_types(types)
    for batch in source.batches():
        found.observe(batch)
    tables = [batch.arrow(found.schema()) for batch in source.batches()]
    return pa.concat_tables(tables) if tables else found.schema().empty_table()
