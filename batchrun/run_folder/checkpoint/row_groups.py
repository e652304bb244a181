"""How rows are cut into row groups: by their bytes, so that large answers are never held together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from batchrun.run_folder.journal.history import History

GROUP_BYTES = 4_000_000
"""Tables are gathered into row groups of about this size, in memory. A group costs as much to write as two
thousand rows, and is read as a whole for one row."""

_PIECE_BYTES = 1_000_000
"""Records whose results are made at once: as Python values they take ten times as much memory."""


def pieces(finished: Iterable[History]) -> Iterator[list[History]]:
    """Tasks of _PIECE_BYTES together, or one that is larger."""
    piece: list[History] = []
    size = 0
    for history in finished:
        piece.append(history)
        size += sum(map(len, history.lines))
        if size >= _PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer tables, of GROUP_BYTES or a little more."""
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        held.append(table)
        size += table.nbytes
        if size >= GROUP_BYTES:
            yield pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held)


def sliced(table: pa.Table, rows: int = 100) -> Iterator[pa.Table]:
    """A table in pieces, from which `row_groups` can make groups of the size it wants."""
    return (table.slice(at, rows) for at in range(0, table.num_rows, rows))
