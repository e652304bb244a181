"""Joins of a share of the rows at a time."""

from __future__ import annotations

from typing import Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.run_folder.checkpoint import shares

HASHES = st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1))
LINES = st.lists(st.tuples(HASHES, st.none() | st.integers(0, 3)), max_size=20)
SCHEMA = {"hash": pl.UInt64, "at": pl.Int64}


def frame(lines: list[tuple[int, int | None]]) -> pl.DataFrame:
    return pl.DataFrame(lines, schema=SCHEMA, orient="row")


@given(LINES, LINES, st.sampled_from(["semi", "anti"]), st.integers(1, 5))
def test_shares_give_the_lines_of_one_join(
    lines: list[tuple[int, int | None]],
    others: list[tuple[int, int | None]],
    how: Literal["semi", "anti"],
    size: int,
) -> None:
    """However small they are; null is equal to nothing."""
    rows, other = frame(lines), frame(others).rename({"hash": "_hash", "at": "_at"})
    whole = rows.join(other, left_on=["hash", "at"], right_on=["_hash", "_at"], how=how)
    with pytest.MonkeyPatch.context() as patch:  # a join of 100,000 lines is no unit test
        patch.setattr(shares, "_SHARE", size)
        found = shares.filtered(rows, other, {"hash": "_hash", "at": "_at"}, how)
    assert found.schema == rows.schema
    assert found.sort("hash", "at").equals(whole.sort("hash", "at"))
