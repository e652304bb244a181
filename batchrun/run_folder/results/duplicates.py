"""Published rows that show the answer to another row's identical request (`duplicate_of`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from batchrun.index import Identifier
from batchrun.index.sharing import HOLDER
from batchrun.source import Row

_PAID: dict[str, list[None] | None] = {
    "usage": None,
    "cost_usd": None,
    "attempts": [],
    "latency": None,
    "ttft": None,
}
"""What stands, for a row that took no call, in the columns that say what a row took."""


class Holders:
    """Which row each row without an answer of its own names, while the input goes by.

    `frame` has the rows to publish, by `index.match` with the column `sharing.HOLDER`.
    """

    def __init__(self, frame: pl.DataFrame, identifier: Identifier) -> None:
        self._identifier = identifier
        standing = (
            frame.filter(pl.col(HOLDER) == pl.col("row_index")) if identifier.has_ids else frame.clear()
        )
        self._awaited = deque(standing["row_index"])
        self._seen: dict[int, str] = {}

    def see(self, rows: Sequence[Row]) -> None:
        """Note the ids of rows that stand for one that is gone: those that share with them come later."""
        while self._awaited and self._awaited[0] <= rows[-1].index:
            index = self._awaited.popleft()
            self._seen[index] = self._identifier.row_id(rows[index - rows[0].index])

    def names(self, frame: pl.DataFrame, answers: pa.Table) -> list[str | None]:
        """`duplicate_of` for some of the rows, given the answers that they show."""
        return [
            None if holder is None or holder == index else self._name(holder, recorded)
            for index, holder, recorded in zip(
                frame["row_index"], frame[HOLDER], answers.column("row_id").to_pylist(), strict=True
            )
        ]

    def _name(self, holder: int, recorded: str) -> str:
        """The holder's id. One that was asked itself has the id that was recorded then."""
        return self._seen.get(holder, recorded) if self._identifier.has_ids else str(holder)


def unpaid(answers: pa.Table, named: Sequence[str | None]) -> pa.Table:
    """`answers` without what was taken for them, where a row names another."""
    if not any(named):
        return answers
    last = len(named)  # where `nothing` stands
    at = pa.array([row if name is None else last for row, name in enumerate(named)], pa.int64())
    for name, nothing in _PAID.items():
        column = answers.column(name)
        values = pa.concat_arrays([*column.chunks, pa.array([nothing], column.type)]).take(at)
        answers = answers.set_column(answers.schema.get_field_index(name), name, values)
    return answers
