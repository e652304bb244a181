"""How rows are cut into row groups: by their bytes, so that large answers are never held together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from batchrun.run_folder.journal.history import History

_T = TypeVar("_T")

GROUP_BYTES = 4_000_000
"""Tables are gathered into row groups of about this size, in memory. A group costs as much to write as two
thousand rows, and is read as a whole for one row."""

_PIECE_BYTES = 1_000_000
"""Records whose results are made at once: as Python values they take ten times as much memory."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The row groups of a file: the place of the first row of each, and the mean bytes of its rows."""

    starts: list[int]
    means: list[int]

    @classmethod
    def of(cls, about: pq.FileMetaData) -> Groups:
        """By what the file's footer says, all columns counted."""
        groups = [about.row_group(group) for group in range(about.num_row_groups)]
        starts = list(accumulate((group.num_rows for group in groups[:-1]), initial=0))
        return cls(starts, [group.total_byte_size // max(1, group.num_rows) for group in groups])

    def size(self, position: int) -> int:
        """The bytes that a row takes, about."""
        return self.means[bisect_right(self.starts, position) - 1]


def pieces(finished: Iterable[History]) -> Iterator[list[History]]:
    """Tasks of _PIECE_BYTES together, or one that is larger."""
    return gathered(finished, bytes_of, _PIECE_BYTES)


def row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer tables, of GROUP_BYTES or a little more."""
    return map(pa.concat_tables, gathered(tables, attrgetter("nbytes"), GROUP_BYTES))


def gathered(
    items: Iterable[_T], size_of: Callable[[_T], int], enough: int, most: int = 0
) -> Iterator[list[_T]]:
    """The items in lists that end where their sizes come to `enough`, or their number to `most`, if any."""
    held: list[_T] = []
    size = 0
    for item in items:
        held.append(item)
        size += size_of(item)
        if size >= enough or len(held) == most:
            yield held
            held, size = [], 0
    if held:
        yield held


def bytes_of(task: History) -> int:
    """The bytes of a task's records."""
    return sum(map(len, task.lines))


def sliced(table: pa.Table, rows: int = 100) -> Iterator[pa.Table]:
    """A table in pieces of some rows, fewer where they are large: from these `row_groups` can make groups of
    the size it wants."""
    rows = max(1, min(rows, _PIECE_BYTES * table.num_rows // max(1, table.nbytes)))
    return (table.slice(at, rows) for at in range(0, table.num_rows, rows))
