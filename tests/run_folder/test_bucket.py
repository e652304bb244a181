"""The buckets of row_index that the results are cut into."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest

from batchrun.run_folder.checkpoint.row_groups import GROUP_BYTES, row_groups
from batchrun.run_folder.results.bucket import BUCKET, buckets


def states(*lines: tuple[int, int | None]) -> pl.DataFrame:
    """Rows by row_index, each with the part of its answer."""
    return pl.DataFrame(lines, schema={"row_index": pl.Int64, "part": pl.Int32}, orient="row")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], {}),
        ([(0, 1), (BUCKET - 1, 1), (BUCKET, 2)], {0: [0, BUCKET - 1], 1: [BUCKET]}),
        ([(3 * BUCKET, 1)], {3: [3 * BUCKET]}),
        ([(0, None), (1, 1)], {0: [1]}),
        ([(0, None), (BUCKET, -1), (2 * BUCKET, 4)], {2: [2 * BUCKET]}),
    ],
)
def test_a_bucket_has_the_answered_rows_of_its_range(
    lines: list[tuple[int, int | None]], expected: dict[int, list[int]]
) -> None:
    """Those without an answer, or with one that is not sealed, are left out; so are buckets without rows."""
    found = {number: rows["row_index"].to_list() for number, rows in buckets(states(*lines))}
    assert found == expected


def test_tables_are_packed_until_they_are_large_enough() -> None:
    """No row is lost, moved or doubled, and what is left makes the last table."""
    column = pa.array(range(GROUP_BYTES // 16), pa.int64())
    tables = [pa.table({"n": column}) for _ in range(5)]
    found = list(row_groups(tables))
    assert [table.num_rows for table in found] == [2 * len(column), 2 * len(column), len(column)]
    assert pa.concat_tables(found).equals(pa.concat_tables(tables))
