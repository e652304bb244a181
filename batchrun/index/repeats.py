"""Whether a value stands twice in a column of millions."""

from __future__ import annotations

import polars as pl


def repeats(values: pl.Series) -> bool:
    """Whether two values are equal, nulls aside. Takes the memory of two sorted copies, 16 bytes a value.

    `is_duplicated` builds a hash table: some 100 bytes a value.
    """
    ordered = values.sort()
    return bool((ordered == ordered.shift()).any())
