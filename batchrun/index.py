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
from batchrun.render.evaluate import RenderError
from batchrun.render.renderer import Renderer
from batchrun.render.request import Request
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
        return Identified(key, row_id, error, failure_hash(error))

    def row_id(self, row: Row) -> str:
        """The id column's value as text, else the row's number."""
        value = None if self._id is None else row.values.get(self._id)
        return str(row.index) if value is None else _encodable(id_text(value))


def _encodable(text: str) -> str:
    """A lone surrogate as its escape, which no column of text can hold otherwise; ids stay distinct."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def failure_hash(error: Error) -> str:
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
            if not first_failure and isinstance(found.request, Error) and found.request.type != "bad_row":
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
    counted["prompt_tokens"] += found.request.prompt_tokens


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
    best = answers.sort("ok", "task", descending=True).with_columns(_both())
    keyed = rows.with_columns(_both())
    place = pl.repeat(None, len(rows), dtype=pl.UInt32, eager=True)
    for same in ("both",) if has_ids else ("both", "hash"):
        place = _pair(place, keyed[same], best[same], best["task"].is_not_null())
    exact = place.is_not_null()
    place = _pair(place, keyed["key"], best["key"], best["ok"])
    chosen = (
        best.select("part", "position", "ok", "error_type")[place] if len(best) else _nothing(best, len(rows))
    )
    decided = keyed["both"].is_in(kept.select(_both())["both"].implode())
    return pl.concat([rows, chosen], how="horizontal").with_columns(
        _states(exact, place.is_not_null(), decided, [*(PASSING - NEVER_SENT), *retry_failed])
    )


def _both() -> pl.Expr:
    """Key and request hash in one 64-bit hash (Fibonacci hashing of the key, exclusive or)."""
    golden = pl.lit(0x9E3779B97F4A7C15, pl.UInt64)
    return ((pl.col("key") * golden) ^ pl.col("hash")).alias("both")


def _pair(place: pl.Series, wanted: pl.Series, offered: pl.Series, usable: pl.Series) -> pl.Series:
    """Give rows without an answer (null in `place`) one of the equal, usable answers that no row has.

    `place` holds positions in `offered`, which is in the order of preference. One sort and one
    search: a join would take several times the memory.
    """
    rows = place.is_null().arg_true()
    free = (usable & ~pl.arange(0, len(offered), eager=True).is_in(place.drop_nulls().implode())).arg_true()
    if rows.is_empty() or free.is_empty():
        return place
    sought = wanted.gather(rows)
    ordered = pl.DataFrame({"value": offered.gather(free), "at": free}).sort("value", maintain_order=True)
    at = ordered["value"].search_sorted(sought, side="left")
    if sought.is_duplicated().any():
        occurrence = pl.int_range(pl.len(), dtype=pl.UInt32).over("value")
        at = at + pl.DataFrame({"value": sought}).select(occurrence).to_series()
    last = len(ordered) - 1
    hit = (at <= last) & (ordered["value"].gather(at.clip(upper_bound=last)) == sought)
    return place.scatter(rows.filter(hit), ordered["at"].gather(at.filter(hit)))


def _nothing(answers: pl.DataFrame, height: int) -> pl.DataFrame:
    columns = answers.select("part", "position", "ok", "error_type").schema
    return pl.DataFrame(
        {name: pl.repeat(None, height, dtype=kind, eager=True) for name, kind in columns.items()}
    )


def _states(exact: pl.Series, placed: pl.Series, decided: pl.Series, again: list[str]) -> pl.Expr:
    def state(value: State) -> pl.Expr:
        return pl.lit(int(value), pl.UInt8)

    return (
        pl.when(exact & pl.col("ok"))
        .then(state(State.OK))
        .when(exact & pl.col("error_type").is_in(again))
        .then(state(State.RETRY))
        .when(exact)
        .then(state(State.FAILED))
        .when(placed & decided)
        .then(state(State.KEPT))
        .when(placed)
        .then(state(State.CHANGED))
        .otherwise(state(State.NEW))
        .alias("state")
    )


def counts(states: pl.DataFrame) -> dict[State, int]:
    """How many rows are in each state."""
    found: dict[Any, int] = dict(states["state"].value_counts().iter_rows())
    return {state: found.get(int(state), 0) for state in State}
