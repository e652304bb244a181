"""One pass over each run: a short line for each row beside those of the others, and what the run took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from batchrun.diff.aligned import align
from batchrun.diff.compared import Compared, Truth
from batchrun.diff.side import KEY, Side
from batchrun.diff.took import USED, Tally, Took
from batchrun.errors import UsageError
from batchrun.index.repeats import repeats
from batchrun.run_folder.results.read import ANSWER


@dataclass(frozen=True, slots=True)
class Gathered:
    """Runs as they are compared.

    Attributes:
        lines: one for each row, as `align` joins them: of each run `at` (its `row_index`), `answer` (ANSWER),
            `ok`, `code` for what is compared, and `number` where that is one in every run; `truth`, a code,
            where it is asked.
        numbers: whether it is a number in every run.
    """

    lines: pl.DataFrame
    took: list[Took]
    numbers: bool


def gather(sides: Sequence[Side], compared: Compared, truth: Truth | None) -> Gathered:
    """Read the runs, some thousands of rows at a time.

    Raises UsageError for a run without rows, or without one that the base has, and RunFolderError for a
    damaged folder.
    """
    numbers = all(compared.find(side.schema).kind.is_numeric() for side in sides)
    lines, took = [], []
    for side in sides:
        found, total = _read(side, compared, truth if truth and truth.side is side else None, numbers=numbers)
        if not total.rows:
            raise UsageError(f"{side.name} has no finished row yet", hint=f"Submit its job: {side.run.path}")
        lines.append(found)
        took.append(total)
    joined = align(lines)
    for number, side in enumerate(sides[1:], start=1):
        if joined.select("at_0", f"at_{number}").drop_nulls().is_empty():
            raise _nothing_common(sides[0], side)
    return Gathered(joined, took, numbers)


def _read(side: Side, compared: Compared, truth: Truth | None, *, numbers: bool) -> tuple[pl.DataFrame, Took]:
    def wanted(schema: pl.Schema) -> list[pl.Expr]:
        found = compared.find(schema)
        columns = [KEY, pl.col("row_index").alias("at"), ANSWER.alias("answer")]
        columns += [(pl.col("status") == "ok").alias("ok"), found.code.alias("code")]
        if numbers:
            columns.append(found.value.cast(pl.Float64).alias("number"))
        if truth:
            columns.append(truth.column.find(schema).code.alias("truth"))
        return [*columns, *USED]

    line = {"key": pl.UInt64, "at": pl.Int64, "answer": pl.UInt64, "ok": pl.Boolean, "code": pl.UInt64}
    line |= {"number": pl.Float64} if numbers else {}
    line |= {"truth": pl.UInt64} if truth else {}
    tally, frames = Tally(), [pl.DataFrame(schema=line)]
    for frame in side.frames(wanted):
        tally.add(frame)
        frames.append(frame.select(list(line)))
    lines = pl.concat(frames)
    if repeats(lines["key"]):  # without ids, rows that are not published yet may have another's number
        lines = lines.unique("key", keep="last", maintain_order=True)
    return lines, tally.total()


def _nothing_common(base: Side, side: Side) -> UsageError:
    ids = [next(one.frames(lambda _: [pl.col("row_id").first()])).item() for one in (base, side)]
    return UsageError(
        f"{base.name} and {side.name} have no row in common: their ids are like {ids[0]!r} and {ids[1]!r}",
        hint="Rows are compared by `row_id`: give both jobs the same input.id.",
    )
