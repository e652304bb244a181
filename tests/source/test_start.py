"""Reading an input from a row on."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchrun.source import open_source

ROWS = 2_500
"""Of each of two files: more than a batch, and several row groups."""


def _written(folder: Path, kind: str) -> None:
    for name in ("a", "b"):
        values = [{"text": f"{name}{number}"} for number in range(ROWS)]
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist(values), folder / f"{name}.parquet", row_group_size=700)
            continue
        lines = [json.dumps(value) if kind == "jsonl" else value["text"] for value in values]
        blank = ["", *lines[:1_200], "", " " if kind == "jsonl" else "", *lines[1_200:]]
        head = ["text"] if kind == "csv" else []
        (folder / f"{name}.{kind}").write_text("\n".join([*head, *blank]) + "\n")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("start", [0, 1, 699, 700, 1_300, ROWS - 1, ROWS, ROWS + 1_999, 2 * ROWS - 1])
def test_reading_from_a_row_on_gives_the_rows_that_reading_all_gives(
    tmp_path: Path, kind: str, start: int
) -> None:
    """With their numbers, their places in the files and their values; those far ahead are left out."""
    _written(tmp_path, kind)
    source = open_source(".", root=tmp_path)
    every = [row for batch in source.batches() for row in batch.rows]
    batches = list(source.batches(start=start))
    rows = [row for batch in batches for row in batch.rows]
    assert rows == every[rows[0].index :]
    assert rows[0].index <= start <= batches[0].rows[-1].index
    assert len(every) == 2 * ROWS


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_there_is_nothing_to_read_after_the_last_row(tmp_path: Path, kind: str) -> None:
    """As where the input has no rows."""
    _written(tmp_path, kind)
    assert list(open_source(".", root=tmp_path).batches(start=2 * ROWS)) == []
