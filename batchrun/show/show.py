"""`show`: some rows of a run, chosen by id, predicate, failure or chance."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import polars.selectors as cs

from batchrun import codec
from batchrun.errors import UsageError
from batchrun.predicate import Predicate, PredicateError
from batchrun.run_folder.parquet import scan_files
from batchrun.run_folder.results.read import ANSWER
from batchrun.show.member import find, splits

CHUNK = 2_000
"""Rows held at once by who reads many."""

PIECE = 8_000_000
"""Bytes of them, about."""

_MEANT = "A member of an answer is parsed.{name}, a text is '{name}' in single quotes."
"""What a name that is no column is most often meant for in a condition."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows are wanted; all conditions hold together.

    `failed` are error types, empty for any; `sample` rows are drawn among those that fit, the same
    ones for the same `seed`. `limit` is about what is left then.
    """

    ids: tuple[str, ...] = ()
    where: str | None = None
    failed: frozenset[str] | None = None
    sample: int | None = None
    seed: int = 0
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows that were chosen, in input order.

    Attributes:
        rows: those that they were chosen from.
        found: the `row_index` and `answer` (`run_folder.results.read.ANSWER`) of each.
        matching: how many fit before `limit`.
    """

    rows: pl.LazyFrame
    found: pl.DataFrame
    matching: int

    @property
    def positions(self) -> pl.Series:
        """The number of each row in the input."""
        return self.found["row_index"]

    def frames(self, columns: list[str], *, at_once: int) -> Iterator[pl.DataFrame]:
        """These columns of the rows, some rows at a time."""
        for start in range(0, len(self.found), at_once):
            yield self._part(start, at_once, columns)

    def pieces(self, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
        """The rows, all columns or these, as many at a time as take about PIECE bytes, and at most CHUNK."""
        start, rows = 0, 50
        while start < len(self.found):
            piece = self._part(start, rows, columns)
            yield piece
            start += rows
            fitting = int(PIECE * len(piece) / max(1, piece.estimated_size()))
            rows = max(1, min(fitting, 4 * rows, CHUNK))

    def _part(self, start: int, count: int, columns: list[str] | None) -> pl.DataFrame:
        part = self.found.slice(start, count)
        first, last = part["row_index"].min(), part["row_index"].max()
        near = pl.col("row_index").is_between(first, last)  # skips row groups by their statistics
        rows = self.rows.filter(near).join(
            part.lazy(), left_on=["row_index", ANSWER], right_on=["row_index", "answer"], how="semi"
        )
        rows = rows.sort("row_index")  # a join keeps no order
        return (rows.select(cs.by_name(columns)) if columns else rows).collect()


def choose(rows: pl.LazyFrame, choice: Choice) -> Chosen:
    """Find the rows that are wanted (see `run_folder.results.read.scan_run`).

    Raises UsageError when the predicate does not fit the columns, or an id is not there.
    """
    names = rows.collect_schema().names()
    fitting = rows
    if choice.ids:
        fitting = fitting.filter(pl.col("row_id").is_in(list(filter(codec.encodable, choice.ids))))
    if choice.failed is not None:
        kinds = pl.col("error_type").is_in(list(choice.failed)) if choice.failed else pl.lit(value=True)
        fitting = fitting.filter((pl.col("status") == "failed") & kinds)
    if choice.where is not None:
        fitting = fitting.filter(_condition(choice.where, names))
    try:
        found = fitting.select("row_index", "row_id", answer=ANSWER).collect()
    except pl.exceptions.PolarsError as error:
        raise UsageError(
            f"--where: `{choice.where}` does not fit the rows: {str(error).splitlines()[0]}",
            hint="Compare values of one kind; CAST(stars AS DOUBLE) makes a number of a text.",
        ) from error
    if choice.ids and choice.where is None and choice.failed is None:
        _require(choice.ids, found["row_id"])
    matching = len(found)
    if choice.sample is not None and choice.sample < matching:
        found = found[_drawn(found["row_id"], choice.sample, choice.seed)]
    if choice.limit is not None:
        found = found.head(choice.limit)
    return Chosen(rows, found.drop("row_id"), matching)


def _drawn(row_ids: pl.Series, count: int, seed: int) -> list[int]:
    """The places of the rows with the smallest hashes: rows that come on top change few of the others."""
    scores = ((codec.hash64(f"{seed}:{row_id}".encode()), place) for place, row_id in enumerate(row_ids))
    return sorted(place for _score, place in heapq.nsmallest(count, scores))


def _condition(where: str, names: list[str]) -> pl.Expr:
    try:
        predicate = Predicate(where)
    except PredicateError as error:
        raise UsageError(
            f"--where: {error}",
            hint="Write an SQL condition over the columns of the results: \"status = 'ok' AND latency > 2\"",
        ) from error
    for name in predicate.columns:
        if name not in names:
            hint = f"{_MEANT.format(name=name)} {_columns(names)}"
            raise UsageError(f"--where: the results have no column `{name}`", hint=hint)
    return pl.sql_expr(predicate.sql)


def input_columns(names: list[str]) -> list[str]:
    """Those of the input among the results' columns: they stand between `row_id` and `status`."""
    return names[names.index("row_id") + 1 : names.index("status")]


def named_columns(rows: pl.LazyFrame, text: str | None) -> tuple[pl.LazyFrame, list[str]]:
    """The columns that `--columns A,B` names, each once, and the rows with them; none without a text.

    A member of a struct is named by its path, `parsed.label`, and is a column of that name then. Raises
    UsageError for what is neither a column nor within one.
    """
    if not text:
        return rows, []
    schema = rows.collect_schema()
    spelled = [name if name in schema else name.strip() for name in text.split(",")]
    wanted = list(dict.fromkeys(name for name in spelled if name or name in schema))
    if not wanted:
        raise UsageError("--columns: names no column", hint=f"Columns: {', '.join(schema)}")
    return rows.with_columns(_member(name, schema) for name in wanted if name not in schema), wanted


def _member(path: str, schema: pl.Schema) -> pl.Expr:
    if not any(name in schema for name, _ in splits(path)):
        raise UsageError(f"--columns: the results have no column `{path}`", hint=_columns(schema.names()))
    member = find(path, schema, option="columns", run="the results")
    if member.rest:
        whole = path.removesuffix(f".{member.rest}")
        raise UsageError(
            f"--columns {path}: `{whole}` of the results is text and has no members",
            hint=f"Name {whole} itself.",
        )
    return member.value.alias(path)


def _columns(names: list[str]) -> str:
    later = "" if input_columns(names) else ". The input's come with the next publication: submit"
    return f"Columns: {', '.join(names)}{later}"


def _require(ids: tuple[str, ...], found: pl.Series) -> None:
    present = set(found)
    missing = [row_id for row_id in ids if row_id not in present]
    if missing:
        raise UsageError(
            f"no finished row has the id {', '.join(map(repr, missing))}",
            hint="Name a row by its value in the column of input.id, else by its number from 0.",
        )


def example_failures(results: Path) -> dict[str, tuple[str, str]]:
    """For each error type in the published results of a folder, one row's id and message."""
    rows = scan_files(sorted(results.glob("*.parquet"))).filter(pl.col("status") == "failed")
    first = rows.group_by("error_type").agg(
        pl.col("row_id").first(), pl.col("error").struct.field("message").first()
    )
    return {kind: (row_id, message or "") for kind, row_id, message in first.collect().iter_rows()}
