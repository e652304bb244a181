"""All rows of several runs side by side, some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from batchrun.diff.aligned import equal, ok_in_all
from batchrun.diff.compared import Compared, Truth
from batchrun.diff.side import Side
from batchrun.show.show import PIECE

_MOST = 50_000
"""Rows of a piece, however short they are."""


@dataclass(frozen=True, slots=True)
class Table:
    """A line for each row of any of the runs, in the order of the first one's.

    Its columns: `row_id`, `status@RUN` for each run (null where it has no such row), what is compared as
    `label@RUN` (for `parsed.label`), `truth` where there is one, and `agrees`: whether all runs say the same,
    null where one of them has no answer.
    """

    sides: tuple[Side, ...]
    lines: pl.DataFrame
    compared: Compared
    truth: Truth | None = None

    def schema(self) -> pl.Schema:
        """The columns with their types."""
        schema: dict[str, pl.DataType] = {"row_id": pl.String()}
        schema |= {f"status@{side.name}": pl.String() for side in self.sides}
        for side in self.sides:
            schema[f"{self.compared.short}@{side.name}"] = self.compared.find(side.schema).kind
        if self.truth:
            schema["truth"] = self.truth.column.find(self.truth.side.schema).kind
        return pl.Schema({**schema, "agrees": pl.Boolean()})

    def pieces(self) -> Iterator[pl.DataFrame]:
        """The lines, as many at a time as take a few megabytes.

        Raises RunFolderError for a damaged folder.
        """
        names, start, count = self.schema().names(), 0, 500
        while start < len(self.lines):
            piece = self._piece(self.lines.slice(start, count)).select(names)
            yield piece
            start += count
            fitting = int(PIECE * len(piece) / max(1, piece.estimated_size()))
            count = max(1, min(fitting, 4 * count, _MOST))

    def _piece(self, lines: pl.DataFrame) -> pl.DataFrame:
        runs = range(len(self.sides))
        agrees = pl.when(ok_in_all(len(runs))).then(equal(runs))
        piece = lines.drop("truth", strict=False)  # its code
        piece = piece.with_columns(agrees.alias("agrees"), row_id=pl.lit(None, pl.String))
        for number in runs:
            piece = piece.join(
                self._rows(number, lines),
                left_on=[f"at_{number}", f"answer_{number}"],
                right_on=["row_index", "answer"],
                how="left",
                maintain_order="left",
            ).with_columns(row_id=pl.coalesce("row_id", "_id"))
            piece = piece.drop("_id")
        return piece

    def _rows(self, number: int, lines: pl.DataFrame) -> pl.DataFrame:
        """`status`, value and truth of these lines in one run, by their `row_index` and `answer`."""
        side = self.sides[number]

        def columns(schema: pl.Schema) -> Sequence[pl.Expr]:
            value = self.compared.find(schema).value.alias(f"{self.compared.short}@{side.name}")
            chosen = [pl.col("row_id").alias("_id"), pl.col("status").alias(f"status@{side.name}"), value]
            if self.truth and self.truth.side is side:
                chosen.append(self.truth.column.find(schema).value.alias("truth"))
            return chosen

        return side.at(lines.select(row_index=f"at_{number}", answer=f"answer_{number}"), columns)
