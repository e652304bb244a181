"""Rows of several runs side by side, joined by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import polars as pl

_SHARE = 100_000
"""Rows that are joined at once, about: a join takes some hundred bytes a row."""

_MORE_ROWS = 2**48
"""More than a run has."""


def align(runs: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """A line for each `key`, with the other columns of each run as `at_0`, `ok_0`, …, `at_1`, …

    Null where a run has no such row. In the order of the first run's rows (`at`), then of those that only
    later runs have. `truth`, where a run has it, keeps its name. Keys are unique within each run.
    """
    numbered = [_numbered(lines, number) for number, lines in enumerate(runs)]
    shares = 1 + max(map(len, numbered)) // _SHARE
    joined = pl.concat(  # put in order by one number a row, column by column: a sort takes as much again
        reduce(_joined, [lines.filter(pl.col("key") % shares == share) for lines in numbered])
        for share in range(shares)
    )
    places = (pl.col(f"at_{number}") + number * _MORE_ROWS for number in range(len(runs)))
    order = joined.select(place=pl.coalesce(places))["place"].arg_sort()
    return pl.DataFrame([joined.drop_in_place(name).gather(order) for name in joined.columns])


def _numbered(lines: pl.DataFrame, number: int) -> pl.DataFrame:
    return lines.rename({name: f"{name}_{number}" for name in lines.columns if name not in ("key", "truth")})


def _joined(some: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    return some.join(more, on="key", how="full", coalesce=True)


def in_all(runs: int) -> pl.Expr:
    """Whether every run has the row of a line."""
    return pl.all_horizontal(pl.col(f"at_{number}").is_not_null() for number in range(runs))


def ok_in_all(runs: int) -> pl.Expr:
    """Whether the row of a line is ok in every run."""
    return pl.all_horizontal(pl.col(f"ok_{number}").fill_null(value=False) for number in range(runs))


def equal(runs: Sequence[int]) -> pl.Expr:
    """Whether what is compared of a line is equal in these runs."""
    first, *others = (pl.col(f"code_{number}") for number in runs)
    return pl.all_horizontal(first.eq_missing(other) for other in others)
