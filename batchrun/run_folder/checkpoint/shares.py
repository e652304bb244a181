"""Joins of millions of rows, a share of them at a time: a join takes some hundred bytes a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import polars as pl

_SHARE = 100_000
"""Rows that are joined at once, about."""


def filtered(
    rows: pl.DataFrame, others: pl.DataFrame, on: Mapping[str, str], how: Literal["semi", "anti"]
) -> pl.DataFrame:
    """The lines of `rows` that one of `others` is equal to (`semi`), or none (`anti`), in another order.

    `on` maps columns of `rows` to those of `others`; by the first, integers that are never null, both are
    shared out. It should be one whose values differ.
    """
    shares = 1 + max(len(rows), len(others)) // _SHARE
    left, right = list(on), list(on.values())
    ours, theirs = rows[left[0]] % shares, others[right[0]] % shares
    return pl.concat(
        rows.filter(ours == share).join(
            others.filter(theirs == share).select(right), left_on=left, right_on=right, how=how
        )
        for share in range(shares)
    )
