"""Rows of results with the types that the last submit publishes with, whatever they were kept with."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from batchrun.run_folder.columns.columns import RESULT_SCHEMA
from batchrun.run_folder.columns.parsed import alike
from batchrun.run_folder.columns.typed import DECIDED, Types


def typed_rows(rows: pl.LazyFrame, types: Types) -> pl.LazyFrame:
    """Rows of the checkpoint with the types that the last submit publishes with."""

    def typed(column: pl.Series) -> pl.Series:
        text = pa.chunked_array([column.to_arrow().cast(pa.string())])
        return pl.Series(column.name, types.column(column.name, text))

    schema = results_schema(types)
    return rows.with_columns(
        pl.col(name).map_batches(typed, return_dtype=schema[name]) for name in sorted(DECIDED)
    )


def retyped_rows(rows: pl.LazyFrame, published: pa.Schema, types: Types) -> pl.LazyFrame:
    """Published rows with these types; by `published`, the schema of their parts, it is known what is JSON
    text in them."""

    def retyped(column: pl.Series) -> pl.Series:
        name, values = column.name, column.to_list()
        if name in DECIDED:
            return pl.Series(name, types.again(name, values, published.field(name).type))
        return pl.Series(name, pa.array(values, RESULT_SCHEMA.field(name).type))

    schema, present = results_schema(types), rows.collect_schema()
    changed = [
        name
        for name in RESULT_SCHEMA.names
        if name in present
        and (schema[name] != present[name] or (name in DECIDED and _differ(published, types, name)))
    ]
    return rows.with_columns(pl.col(name).map_batches(retyped, return_dtype=schema[name]) for name in changed)


def _differ(published: pa.Schema, types: Types, name: str) -> bool:
    """Whether a column was published with another type, or with JSON text in other places: polars' types do
    not tell."""
    return not alike(published.field(name), types.field(RESULT_SCHEMA.field(name)))


def results_schema(types: Types | None = None) -> pl.Schema:
    """The columns of results with these types; those that no job decides are the same in all."""
    return pl.DataFrame((types.schema() if types else RESULT_SCHEMA).empty_table()).schema
