"""Arrow arrays of nested types, made from flat lists of Python values.

Arrow takes a nested value apart item by item, looking up each member by its name: flat lists take a fifth of
that time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from typing import Any

import pyarrow as pa


def list_array(
    values: Sequence[Sequence[Any] | None], items: Callable[[list[Any]], pa.Array], wanted: pa.ListType
) -> pa.Array:
    """A column of lists, None where there is none; `items` makes an array of the items of all of them."""
    if not any(values) and all(value is None for value in values):
        return pa.nulls(len(values), wanted)
    present: Sequence[Sequence[Any]] = [value or () for value in values]
    ends = pa.array(accumulate(map(len, present), initial=0), pa.int32())
    flat = list(chain.from_iterable(present))
    held = items(flat) if flat else pa.array([], wanted.value_type)
    missing = pa.array([value is None for value in values], pa.bool_()) if None in values else None
    return pa.ListArray.from_arrays(ends, held, type=wanted, mask=missing)


def struct_array(
    columns: Sequence[pa.Array], wanted: pa.StructType, missing: Sequence[bool] | None = None
) -> pa.Array:
    """A column of structs from its members' columns; null where it is `missing`."""
    mask = None if missing is None else pa.array(missing, pa.bool_())
    return pa.StructArray.from_arrays(columns, fields=list(wanted), mask=mask)


def struct_array_of_rows(rows: Sequence[Sequence[Any] | None], wanted: pa.StructType) -> pa.Array:
    """A column of structs of plain members from the members of each, None where there is none."""
    if all(row is None for row in rows):
        return pa.nulls(len(rows), wanted)
    empty = (None,) * wanted.num_fields
    columns = zip(*(row or empty for row in rows), strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, wanted, strict=True)]
    return struct_array(arrays, wanted, [row is None for row in rows])
