"""Which rows of the input a job is about: its `where`, then its `limit` or `sample`."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from batchrun import codec
from batchrun.errors import InputError, JobError
from batchrun.predicate import Predicate, PredicateError, Types, declared_types

if TYPE_CHECKING:
    from batchrun.job import Job
    from batchrun.source import Batch, Row, Source


class Selection:
    """The chosen rows of a source, in its order.

    A bad row is always one of those that `where` lets through: nobody can tell what it would have
    held. A sample is drawn by a hash of each row's identity, so that rows added to the input
    change few of the others. Raises JobError when `where` is no SQL.
    """

    def __init__(self, source: Source, job: Job) -> None:
        self.source = source
        self._id = job.input.id
        self._limit = job.input.limit
        self._sample = job.input.sample
        self._where = _predicate(job)
        self._types = _declared(source, self.columns)
        self._drawn: frozenset[int] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that `where` needs."""
        return self._where.columns if self._where else ()

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """The same, and the members of structs that it names."""
        return self._where.paths if self._where else ()

    def batches(self) -> Iterator[tuple[Batch, list[Row]]]:
        """Each batch of the source with the chosen rows in it. Stops reading after the last one.

        Raises InputError when `where` does not fit the rows.
        """
        if self._sample and self._drawn is None:
            self._drawn = self._draw(self._sample.rows, self._sample.seed)
        left = self._limit
        for batch, rows in self._passing():
            if self._drawn is not None:
                rows = [row for row in rows if row.index in self._drawn]
            if left is not None:
                rows = rows[:left]
                left -= len(rows)
            yield batch, rows
            if left == 0:
                return

    def _passing(self) -> Iterator[tuple[Batch, list[Row]]]:
        for batch in self.source.batches():
            if self._where is None:
                yield batch, batch.rows
                continue
            try:
                chosen = self._where.choose([row.values for row in batch.rows], self._types)
            except PredicateError as error:
                first = batch.rows[0].location if batch.rows else self.source.files[0].name
                raise InputError(
                    f"input.where: {error} (in the rows from {first})",
                    hint="Cast the column in the predicate, as in CAST(stars AS DOUBLE) < 3.",
                ) from error
            yield (
                batch,
                [row for row, yes in zip(batch.rows, chosen, strict=True) if yes or row.error],
            )

    def _draw(self, count: int, seed: int) -> frozenset[int]:
        """The `count` rows with the smallest hashes."""
        scores, positions = array("Q"), array("Q")
        for _batch, rows in self._passing():
            for row in rows:
                scores.append(codec.hash64(b"%d:%b" % (seed, identity(row, self._id))))
                positions.append(row.index)
        drawn = heapq.nsmallest(count, zip(scores, positions, strict=True))
        return frozenset(position for _score, position in drawn)


def _declared(source: Source, columns: Sequence[str]) -> Types:
    """The types of the columns where the format says them: nothing needs to be guessed from values."""
    return {} if source.declared is None else declared_types(source.declared, columns)


def _predicate(job: Job) -> Predicate | None:
    if job.input.where is None:
        return None
    try:
        predicate = Predicate(job.input.where)
    except PredicateError as error:
        raise JobError(
            f"{job.where('input', 'where')}: {error}",
            hint="Write an SQL condition over the input's columns, as in lang = 'en' AND stars < 3.",
        ) from error
    if not predicate.looks_at_one_row:
        raise JobError(
            f"{job.where('input', 'where')}: the condition sets a row against others (an aggregate or OVER)",
            hint="The input is read in parts: write the number itself, as in stars > 3.5.",
        )
    return predicate


def identity(row: Row, id_column: str | None) -> bytes:
    """What names a row: its id as text, else its whole content, for a bad row its raw bytes."""
    if row.error:
        return b"\0bad:" + row.raw
    if id_column is not None and (value := row.values.get(id_column)) is not None:
        return id_text(value).encode(errors="surrogatepass")
    return b"\0row:" + content(row)


def id_text(value: object) -> str:
    """An id as text: ids compare as strings."""
    return value if isinstance(value, str) else codec.dumps(value).decode() if _is_json(value) else str(value)


def content(row: Row) -> bytes:
    """A row's values as canonical bytes."""
    try:
        return codec.canonical(row.values)
    except TypeError:  # Parquet's decimals, bytes, durations, and maps with such keys
        return codec.canonical(stands_for(row.values))


def stands_for(value: object) -> object:
    """The value, or where JSON has no form for it what tells it apart from others."""
    if isinstance(value, dict):
        return {stands_for(key): stands_for(item) for key, item in value.items()}
    if isinstance(value, list):
        return [stands_for(item) for item in value]
    if isinstance(value, bytes):
        return f"bytes:{codec.digest(value)}"
    return value if _is_json(value) else repr(value)


def _is_json(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))
