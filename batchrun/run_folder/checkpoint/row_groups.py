"""How rows are cut into row groups: by their bytes, so that large answers are never held together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import TypeVar

import pyarrow as pa

from batchrun.run_folder.journal.history import History

_T = TypeVar("_T")

GROUP_BYTES = 4_000_000
"""Tables are gathered into row groups of about this size, in memory. A group costs as much to write as two
thousand rows, and is read as a whole for one row."""

_PIECE_BYTES = 1_000_000
"""Records whose results are made at once: as Python values they take ten times as much memory."""


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
    """A table in pieces, from which `row_groups` can make groups of the size it wants."""
    return (table.slice(at, rows) for at in range(0, table.num_rows, rows))
