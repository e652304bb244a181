"""From the rows that a submit must ask for to the tasks of its engine."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import polars as pl

from batchrun.answer import Task
from batchrun.index import State
from batchrun.run_folder.checkpoint import next_task
from batchrun.run_folder.history import History
from batchrun.survey import Survey


def tasks(
    survey: Survey, rows: pl.DataFrame, chain: tuple[int, ...], retry_chain: tuple[int, ...]
) -> Iterator[Task]:
    """A task for each of `rows` (see `index.match`), in input order, reading the input as it goes.

    A row that an earlier submit left under way goes on with the records it has. Rows that failed
    before are asked of the models `retry_chain`, all others of `chain`.
    """
    waiting = survey.checkpoint.waiting()
    numbers = count(next_task(survey.checkpoint.answers(), survey.checkpoint.unfinished))
    wanted = rows.select("row_index", "state").iter_rows()
    row_index, state = next(wanted, (None, None))
    for batch in survey.source.batches():
        first, last = batch.rows[0].index, batch.rows[-1].index
        while row_index is not None and row_index <= last:
            row = batch.rows[row_index - first]
            found = survey.identifier.identify(row)
            number, history = _earlier(waiting, found.key, found.request_hash) or (next(numbers), History())
            yield Task(
                number=number,
                row=row.index,
                row_id=found.row_id,
                key=found.key,
                request_hash=found.request_hash,
                request=found.request,
                models=retry_chain if state == State.RETRY else chain,
                history=history,
            )
            row_index, state = next(wanted, (None, None))
        if row_index is None:
            return


def _earlier(
    waiting: dict[tuple[int, str], list[tuple[int, History]]], key: int, request_hash: str
) -> tuple[int, History] | None:
    found = waiting.get((key, request_hash))
    return found.pop(0) if found else None
