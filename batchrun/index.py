"""The index pass: the input read once before the first call, so that every count is exact.

It keeps 24 bytes a row: position, the row's key, and the first half of its request hash. Matching
them with the answers in the checkpoint says for each row what a submit would do.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import polars as pl

from batchrun import codec
from batchrun.errors import InputError
from batchrun.outcome import NEVER_SENT, PASSING, Error
from batchrun.render import Renderer, RenderError, Request, estimated_tokens
from batchrun.selection import Selection, id_text, identity
from batchrun.source import ColumnTypes, Row

ROWS_SCHEMA = {"row_index": pl.Int64, "key": pl.UInt64, "hash": pl.UInt64}


class State(IntEnum):
    """What a submit would do with a row."""

    NEW = 0
    """Never answered: ask."""
    OK = 1
    """Answered for this very request."""
    FAILED = 2
    """Failed for this request, and only a decision can change that."""
    RETRY = 3
    """Failed for a cause that may have passed, or that the user wants tried again: ask."""
    CHANGED = 4
    """Answered for another request: the user chooses."""
    KEPT = 5
    """Answered for another request, and the user chose to keep that answer."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the index pass counted."""

    rows: int = 0
    """Rows chosen."""
    bad_rows: int = 0
    unrendered: int = 0
    """Rows whose templates cannot be evaluated."""
    null_printed: int = 0
    """Rows in which a null or NaN prints as nothing."""
    prompt_tokens: int = 0
    """Estimate over all rows."""
    first_failure: str = ""
    """The first row that cannot be rendered, and why."""


@dataclass(frozen=True, slots=True)
class Index:
    """The chosen rows of the input, by ROWS_SCHEMA, and what was counted on the way."""

    rows: pl.DataFrame
    facts: Facts


@dataclass(frozen=True, slots=True)
class Identified:
    """A row with what names it and what would be asked for it, or why nothing can be."""

    key: int
    row_id: str
    request: Request | Error
    request_hash: str


class Identifier:
    """Gives rows their key, id and request."""

    def __init__(self, renderer: Renderer, id_column: str | None) -> None:
        self._renderer = renderer
        self._id = id_column

    def identify(self, row: Row) -> Identified:
        """The row's key, its id (the id column's value, else the row's number), its request."""
        key = codec.hash64(identity(row, self._id))
        row_id = self.row_id(row)
        error = row.error
        if self._id is not None and error is None and row.values.get(self._id) is None:
            error = Error("bad_row", f"{row.location}: the id column `{self._id}` is null or missing")
        if error is None:
            try:
                request = self._renderer.render(row.values)
            except RenderError as failure:
                error = failure.error
            else:
                return Identified(key, row_id, request, request.request_hash)
        return Identified(key, row_id, error, _failure_hash(error))

    def row_id(self, row: Row) -> str:
        """The id column's value as text, else the row's number."""
        value = None if self._id is None else row.values.get(self._id)
        return str(row.index) if value is None else _encodable(id_text(value))


def _encodable(text: str) -> str:
    """A lone surrogate as its escape, which no column of text can hold otherwise; ids stay distinct."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _failure_hash(error: Error) -> str:
    """Stands for a request that cannot be made: the same failure gives the same hash."""
    return codec.digest(codec.dumps([error.type, error.message]))


def build(
    selection: Selection,
    renderer: Renderer,
    id_column: str | None,
    types: ColumnTypes,
    on_rows: Callable[[int], None],
) -> Index:
    """Read the input once. `types` learns the columns; `on_rows` is told how many rows were read.

    Raises InputError when two rows share an id, naming both lines.
    """
    identifier = Identifier(renderer, id_column)
    positions, keys, hashes = array("q"), array("Q"), array("Q")
    counted = dict.fromkeys(("rows", "bad_rows", "unrendered", "null_printed", "prompt_tokens"), 0)
    first_failure = ""
    templates = renderer.templates
    for batch, rows in selection.batches():
        types.observe(batch)
        for row in rows:
            templates.null_printed = False
            found = identifier.identify(row)
            positions.append(row.index)
            keys.append(found.key)
            hashes.append(int(found.request_hash[:16], 16))
            _count(counted, found, null_printed=templates.null_printed)
            if not first_failure and isinstance(found.request, Error) and found.request.type == "render":
                first_failure = f"{row.location}: {found.request.message}"
        on_rows(len(positions))
    frame = pl.DataFrame({"row_index": positions, "key": keys, "hash": hashes}, schema=ROWS_SCHEMA)
    if id_column is not None:
        _refuse_duplicates(frame, selection, id_column)
    return Index(frame, Facts(**counted, first_failure=first_failure))


def _count(counted: dict[str, int], found: Identified, *, null_printed: bool) -> None:
    counted["rows"] += 1
    if isinstance(found.request, Error):
        counted["bad_rows" if found.request.type == "bad_row" else "unrendered"] += 1
        return
    counted["null_printed"] += null_printed
    counted["prompt_tokens"] += sum(
        estimated_tokens(str(message["content"]).encode()) for message in found.request.messages
    )


def _refuse_duplicates(frame: pl.DataFrame, selection: Selection, id_column: str) -> None:
    """Equal keys are looked at again by their ids: two ids may share a 64-bit key by chance."""
    twice = set(frame.filter(pl.col("key").is_duplicated())["key"].to_list())
    if not twice:
        return
    first_seen: dict[str, str] = {}
    for _batch, rows in selection.batches():
        for row in rows:
            value = row.values.get(id_column)
            if row.error or value is None or codec.hash64(identity(row, id_column)) not in twice:
                continue
            row_id = id_text(value)
            if row_id in first_seen:
                both = f"{first_seen[row_id]} and {row.location}"
                raise InputError(
                    f"input.id: {id_column} = {row_id!r} names two rows: {both}",
                    hint="Remove one of them, or name a column in input.id that is unique.",
                )
            first_seen[row_id] = row.location


def match(
    rows: pl.DataFrame,
    answers: pl.DataFrame,
    kept: pl.DataFrame,
    *,
    has_ids: bool,
    retry_failed: Iterable[str] = (),
) -> pl.DataFrame:
    """Say for each row what is done: `rows` with `state`, and `part` and `position` of its answer.

    `answers` holds finished tasks (`run_folder.sealed.ANSWERS_SCHEMA`), `kept` the pairs of key and
    hash whose older answer the user keeps. A row is matched with an answer to the same request: by
    key and hash, and without ids by the hash alone, equal requests pairing off. Rows left over
    are `CHANGED` or `KEPT` when an ok answer to another request has their key.
    """
    best = answers.sort(["ok", "task"], descending=True)
    matched, left, unused = _pair(rows, best, ["key", "hash"])
    found = [matched]
    if not has_ids:
        matched, left, unused = _pair(left, unused, ["hash"])
        found.append(matched)
    changed, left, _ = _pair(left, unused.filter("ok"), ["key"])
    is_kept = changed.join(kept, on=["key", "hash"], how="semi")
    changed = changed.join(kept, on=["key", "hash"], how="anti")
    return pl.concat(
        [
            *(part.with_columns(_finished_state(retry_failed)) for part in found),
            is_kept.with_columns(_state(State.KEPT)),
            changed.with_columns(_state(State.CHANGED)),
            left.with_columns(
                pl.lit(None, pl.Int32).alias("part"),
                pl.lit(None, pl.Int64).alias("position"),
                pl.lit(None, pl.Boolean).alias("ok"),
                pl.lit(None, pl.String).alias("error_type"),
                _state(State.NEW),
            ),
        ],
        how="vertical",
    ).sort("row_index")


def _pair(
    rows: pl.DataFrame, answers: pl.DataFrame, on: list[str]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Pair rows with answers one to one: (rows with their answer, rows left, answers left)."""
    occurrence = pl.int_range(pl.len()).over(on).alias("occurrence")
    keys = [*on, "occurrence"]
    numbered, offered = rows.with_columns(occurrence), answers.with_columns(occurrence)
    place = offered.select(*keys, "part", "position", "ok", "error_type")
    paired = numbered.join(place, on=keys, how="inner").drop("occurrence")
    left = numbered.join(place, on=keys, how="anti").drop("occurrence")
    unused = offered.join(numbered, on=keys, how="anti").drop("occurrence")
    return paired, left, unused


def _state(state: State) -> pl.Expr:
    return pl.lit(int(state), pl.UInt8).alias("state")


def _finished_state(retry_failed: Iterable[str]) -> pl.Expr:
    again = pl.col("error_type").is_in([*(PASSING - NEVER_SENT), *retry_failed])
    return (
        pl.when(pl.col("ok"))
        .then(pl.lit(int(State.OK), pl.UInt8))
        .when(again)
        .then(pl.lit(int(State.RETRY), pl.UInt8))
        .otherwise(pl.lit(int(State.FAILED), pl.UInt8))
        .alias("state")
    )


def counts(states: pl.DataFrame) -> dict[State, int]:
    """How many rows are in each state."""
    found: dict[Any, int] = dict(states["state"].value_counts().iter_rows())
    return {state: found.get(int(state), 0) for state in State}
