"""The index pass: the input read once before the first call, so that every count is exact.

It keeps 24 bytes a row: position, the row's key, and the first half of its request hash; a bit more
where identical requests are asked once, another under a cap, and 8 bytes where prompts that begin alike
go out together.
Matching them with the answers in the checkpoint says for each row what a submit would do.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from batchrun import codec
from batchrun.errors import InputError
from batchrun.index.prefix import PREFIX, prefix_key
from batchrun.index.repeats import repeats
from batchrun.index.sharing import SENDABLE
from batchrun.media import replace
from batchrun.outcome import Error
from batchrun.render.evaluate import RenderError
from batchrun.selection import id_text, identity
from batchrun.value import value

if TYPE_CHECKING:
    from batchrun.render.renderer import Renderer
    from batchrun.render.request import RowRequest
    from batchrun.selection import Selection
    from batchrun.source import ColumnTypes, Row

ROWS_SCHEMA = {"row_index": pl.Int64, "key": pl.UInt64, "hash": pl.UInt64}
"""The index of every job; `build` says when SENDABLE, PREFIX and UNBOUNDED come on top."""

UNBOUNDED = "unbounded"
"""Column of the index, present under a cap on cost or tokens: whether what the row's request takes has no
upper bound. Of every row, because the first of them may be paid for before the last is found."""


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
    longest: int = -1
    """The `row_index` of the row with the longest prompt; -1 where none can be rendered."""
    longest_tokens: int = 0
    """Estimate of that prompt."""
    first_failure: str = ""
    """The first row that cannot be rendered, and why."""


@dataclass(frozen=True, slots=True)
class Index:
    """The chosen rows of the input, by ROWS_SCHEMA, and what was counted on the way."""

    rows: pl.DataFrame
    facts: Facts


@value(frozen=True, slots=True)
class Identified:
    """A row with what names it and what would be asked for it, or why nothing can be."""

    key: int
    row_id: str
    request: RowRequest | Error
    request_hash: str


class Identifier:
    """Gives rows their key, id and request."""

    def __init__(self, renderer: Renderer, id_column: str | None) -> None:
        self._renderer = renderer
        self._id = id_column

    @property
    def has_ids(self) -> bool:
        """Whether a column names the rows, or their number does."""
        return self._id is not None

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
    *,
    sendable: bool = False,
    prefixes: bool = False,
    is_unbounded: Callable[[RowRequest], bool] | None = None,
) -> Index:
    """Read the input once. `types` learns the columns; `on_rows` is told how many rows were read.

    `sendable`, `prefixes` and `is_unbounded` ask for the columns `sharing.SENDABLE`, `prefix.PREFIX` and
    UNBOUNDED. Raises InputError when two rows share an id, naming both lines.
    """
    identifier = Identifier(renderer, id_column)
    positions, keys, hashes = array("q"), array("Q"), array("Q")
    more = _more_columns(is_unbounded, sendable=sendable, prefixes=prefixes)
    counted = asdict(Facts())
    templates = renderer.templates
    for batch, rows in selection.batches():
        types.observe(batch)
        for row in rows:
            templates.null_printed = False
            found = identifier.identify(row)
            positions.append(row.index)
            keys.append(found.key)
            hashes.append(codec.hash_prefix(found.request_hash))
            for values, value_of in more.values():
                values.append(value_of(found.request))
            _count(counted, row, found, null_printed=templates.null_printed)
        on_rows(len(positions))
    columns = [positions, keys, hashes]
    del positions, keys, hashes
    frame = _frame(columns, more)
    if id_column is not None:
        _refuse_duplicates(frame, selection, id_column)
    return Index(frame, Facts(**counted))


_More: TypeAlias = dict[str, tuple["array[int]", Callable[["RowRequest | Error"], int]]]
"""Columns that only some jobs have: their values, and what gives a row's."""


def _more_columns(
    is_unbounded: Callable[[RowRequest], bool] | None, *, sendable: bool, prefixes: bool
) -> _More:
    more: _More = {}
    if sendable:
        more[SENDABLE] = array("b"), lambda request: not isinstance(request, Error)
    if prefixes:
        more[PREFIX] = array("Q"), _prefix
    if is_unbounded is not None:
        more[UNBOUNDED] = array("b"), lambda request: not isinstance(request, Error) and is_unbounded(request)
    return more


def _frame(columns: list[array[int]], more: _More) -> pl.DataFrame:
    """The columns as a frame. `columns` is emptied one by one, so that the arrays go as the frame grows."""
    frame = pl.DataFrame(pl.Series(name, columns.pop(0), kind) for name, kind in ROWS_SCHEMA.items())
    for name, (values, _value_of) in more.items():
        is_truth = values.typecode == "b"
        series = pl.Series(name, values, pl.Int8 if is_truth else pl.UInt64)
        frame = frame.with_columns(series.cast(pl.Boolean) if is_truth else series)
    return frame


def _prefix(request: RowRequest | Error) -> int:
    """The row's `prefix_key`, media by their identity; rows without a request come first."""
    if isinstance(request, Error):
        return 0
    if request.media:
        return prefix_key(replace(request.messages, request.media, lambda ref: ref.identity))
    return prefix_key(request.messages)


def _count(counted: dict[str, Any], row: Row, found: Identified, *, null_printed: bool) -> None:
    """Count a row in the members of Facts."""
    request = found.request
    counted["rows"] += 1
    if isinstance(request, Error):
        if request.type == "bad_row":
            counted["bad_rows"] += 1
            return
        counted["unrendered"] += 1
        counted["first_failure"] = counted["first_failure"] or f"{row.location}: {request.message}"
        return
    counted["null_printed"] += null_printed
    tokens = request.prompt_tokens
    counted["prompt_tokens"] += tokens
    if tokens > counted["longest_tokens"]:
        counted["longest"], counted["longest_tokens"] = row.index, tokens


def _refuse_duplicates(frame: pl.DataFrame, selection: Selection, id_column: str) -> None:
    """Equal keys are looked at again by their ids: two ids may share a 64-bit key by chance."""
    if not repeats(frame["key"]):
        return
    twice = set(frame.filter(pl.col("key").is_duplicated())["key"].to_list())
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
