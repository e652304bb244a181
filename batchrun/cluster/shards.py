"""The rows of a run as ranges for workers: cut as they are wanted, given again where a worker was lost."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import polars as pl

from batchrun.cluster.messages import Shard
from batchrun.engines.tasks import Assignment
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.journal.lines import decode
from batchrun.run_folder.journal.records import Admitted, Header
from batchrun.source import Mark

MOST_ROWS = 1_000
LEAST_ROWS = 16
"""Rows of a range: few enough that the last ones end together, many enough that reading pays."""

_PER_WORKER = 8
"""Ranges that a worker gets at least, where there are rows enough."""


@dataclass(slots=True)
class Given:
    """A range that a worker has, and the tasks in it that have no outcome yet."""

    shard: Shard
    left: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.left = {one.number for one in self.shard.assignments}


class Shards:
    """Cuts `rows` (`row_index`, `hash`; see `index.match`) with their `assignments` into ranges."""

    def __init__(
        self,
        rows: pl.DataFrame,
        assignments: Iterator[Assignment],
        marks: Iterator[Mark],
        *,
        workers: int,
    ) -> None:
        self._rows = rows.select("row_index", "hash")
        self._assignments = assignments
        self._marks = marks
        """Found by reading the input, so that they are asked for as ranges come to them."""
        self._found: list[Mark] = []
        self._size = min(MOST_ROWS, max(LEAST_ROWS, len(rows) // (workers * _PER_WORKER)))
        self._again: deque[Shard] = deque()
        self._number = 0
        self.cut = 0
        """Rows that are in ranges by now."""

    @property
    def has_more(self) -> bool:
        """Whether there is a range that nobody has."""
        return bool(self._again) or self.cut < len(self._rows)

    def next(self, most: int | None = None) -> Shard | None:
        """The next range, of `most` rows at most; None when there is none."""
        if self._again:
            return self._again.popleft()
        size = self._size if most is None else min(self._size, most)
        rows = self._rows.slice(self.cut, size)
        if rows.is_empty():
            return None
        self.cut += len(rows)
        positions = rows["row_index"].to_list()
        given = tuple(islice(self._assignments, len(rows)))
        return self._made(positions, rows["hash"].to_list(), given)

    def take_back(self, given: Given, journal: Journal) -> None:
        """A worker was lost: what is left of its range goes to another, with what is recorded of it."""
        shard = given.shard
        kept = [at for at, one in enumerate(shard.assignments) if one.number in given.left]
        if kept:
            again = tuple(_again(shard.assignments[at], journal) for at in kept)
            positions, hashes = ([values[at] for at in kept] for values in (shard.positions, shard.hashes))
            self._again.append(self._made(positions, hashes, again))

    def _made(
        self, positions: Sequence[int], hashes: Sequence[int], assignments: Sequence[Assignment]
    ) -> Shard:
        self._number += 1
        return Shard(self._number, positions, hashes, assignments, self._before(positions[0]))

    def _before(self, position: int) -> Mark | None:
        """The last mark at or before a row, if there are marks."""
        found = self._found
        while (not found or found[-1].row <= position) and (mark := next(self._marks, None)):
            found.append(mark)
        at = bisect_right(found, position, key=lambda mark: mark.row) - 1
        return found[at] if found else None


def _again(given: Assignment, journal: Journal) -> Assignment:
    """A row as a worker left it that was lost: its calls are known, and their answers as far as they came."""
    lines = journal.under_way(given.number)
    if len(lines) < len(given.history.lines) or not lines:
        return given  # what it goes on from has not been carried yet
    history = History()
    for line in lines:
        record = decode(line.removesuffix(b"\n"))
        assert not isinstance(record, Admitted | Header), "records of a task"
        history.add(record, line)
    return replace(given, history=history, goes_on=False)
