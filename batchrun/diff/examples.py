"""Some rows whose answer is another than the base's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from batchrun.diff.aligned import equal
from batchrun.diff.table import Table


@dataclass(frozen=True, slots=True)
class Example:
    """A row that changed.

    Attributes:
        status: of each run by its name; None where a run has no such row.
        answers: what is compared, of each run by its name, as the results have it.
        truth: None where none is known.
    """

    row_id: str
    status: dict[str, str | None]
    answers: dict[str, Any]
    truth: Any = None


def changed(lines: pl.DataFrame, runs: int, limit: int) -> pl.DataFrame:
    """The first lines in which a run's answer is another than the first one's, both being ok."""
    others = (pl.col(f"ok_{number}") & ~equal([0, number]) for number in range(1, runs))
    found = pl.col("ok_0") & pl.any_horizontal(other.fill_null(value=False) for other in others)
    return lines[lines.select(found.alias("found"))["found"].arg_true().head(limit)]


def examples(table: Table) -> Iterator[Example]:
    """The rows of a table, one by one."""
    names = [side.name for side in table.sides]
    for piece in table.pieces():
        for row in piece.iter_rows(named=True):
            yield Example(
                row_id=row["row_id"],
                status={name: row[f"status@{name}"] for name in names},
                answers={name: row[f"{table.compared.short}@{name}"] for name in names},
                truth=row.get("truth"),
            )
