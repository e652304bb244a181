"""Which rows have an answer that was given to the same request but for the form of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import polars as pl
import polars.selectors as cs

from batchrun.errors import InputError
from batchrun.index import State
from batchrun.index.sharing import HOLDER
from batchrun.job import Job

_FORMAT = "response_format"
_T = TypeVar("_T")

_OPEN = tuple(map(int, (State.NEW, State.RETRY, State.CHANGED, State.KEPT)))
"""States of rows that have no outcome for their request as it is now, but for one that may pass."""

_EXACT = tuple(map(int, (State.OK, State.FAILED, State.RETRY)))

OLDER = cs.by_name("row_index", "hash", "part", "position", "state", HOLDER, require_all=False)
"""The columns of `index.match` that are needed of the rows in the older form."""

PLACED = "placed"
"""Column of the rows: whether an answer to their request in the older form is there."""


def as_answered(job: Job, before: Job) -> Job:
    """`job`, but for the form in which `before` wanted answers: its schema or its `response_format`."""
    first, was = job.models[0], before.models[0]
    model = replace(
        first,
        parameters={**_without(first.parameters), **_only(was.parameters)},
        removed=(first.removed - {_FORMAT}) | (was.removed & {_FORMAT}),
    )
    models = (model, *job.models[1:])
    # checks may speak of members that only the new schema has
    return replace(job, answer_schema=before.answer_schema, models=models, checks=())


def _without(request: Mapping[str, _T]) -> dict[str, _T]:
    return {name: value for name, value in request.items() if name != _FORMAT}


def _only(request: Mapping[str, _T]) -> dict[str, _T]:
    return {name: value for name, value in request.items() if name == _FORMAT}


def open_rows(states: pl.DataFrame, older: pl.DataFrame) -> pl.DataFrame:
    """The rows without a lasting outcome for their request, in input order.

    `states` and `older` are the same rows, by `index.match`: for their requests as they are now, and in the
    older form. Columns: `row_index`; `state` and `error_type` now; PLACED, and `part` and `position` of that
    answer; HOLDER where equal requests share answers. Raises InputError when the input changed meanwhile.
    """
    if not states["row_index"].equals(older["row_index"]):
        raise InputError(
            "the input changed while it was read",
            hint="Nothing was written. Run the same command again.",
        )
    placed = older["part"].is_not_null() & older["state"].is_in(_EXACT) & (older["hash"] != states["hash"])
    names = ["part", "position", *([HOLDER] if HOLDER in older.columns else [])]
    rows = states.select("row_index", "state", "error_type").with_columns(
        placed.alias(PLACED), *(older[name] for name in names)
    )
    return rows.filter(pl.col("state").is_in(_OPEN))


def known_rows(states: pl.DataFrame, older: pl.DataFrame) -> int:
    """How many rows have an answer to their request in its present form, which is not the older one: a
    reparse before has read them, though its end may be missing. The frames are those of `open_rows`."""
    return int(((states["hash"] != older["hash"]) & states["state"].is_in(_EXACT)).sum())


def asked(rows: pl.DataFrame) -> pl.DataFrame:
    """Of `open_rows` those to read an answer for: of rows that share one, the one that stands for them.

    `rows` is how many share it.
    """
    placed = rows.filter(PLACED)
    if HOLDER not in placed.columns:
        return placed.with_columns(rows=pl.lit(1, pl.UInt32))
    own = pl.col(HOLDER).is_null() | (pl.col(HOLDER) == pl.col("row_index"))
    counted = placed.with_columns(rows=pl.len().over("part", "position"), own=own)
    first = counted.sort(pl.col("own"), descending=True, maintain_order=True)
    return first.unique(["part", "position"], keep="first", maintain_order=True).sort("row_index").drop("own")
