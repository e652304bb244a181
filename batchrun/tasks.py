"""From the rows that a submit must ask for to the tasks of its engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import polars as pl

from batchrun.answer.calls import Task
from batchrun.judge import judge
from batchrun.outcome import PASSING
from batchrun.run_folder.checkpoint import next_task
from batchrun.run_folder.columns import EARLIER_COLUMNS, earlier_askings
from batchrun.run_folder.history import History
from batchrun.run_folder.sealed import PartReader, histories
from batchrun.survey import Survey

_END = (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Chains:
    """Which models of the job are asked, by position: rows that failed with `retry_types` have their own."""

    usual: tuple[int, ...]
    retry: tuple[int, ...] = ()
    retry_types: frozenset[str] = frozenset()

    def all(self) -> frozenset[tuple[int, ...]]:
        """Every chain that a row may have."""
        return frozenset({self.usual, self.retry} if self.retry_types else {self.usual})

    def of(self, error_type: str | None) -> tuple[int, ...]:
        """The chain for a row that failed so before, or not at all (None)."""
        return self.retry if error_type in self.retry_types else self.usual


def tasks(survey: Survey, rows: pl.DataFrame, chains: Chains) -> Iterator[Task]:
    """A task for each of `rows` (see `index.match`), in input order, reading the input as it goes.

    A row that an earlier submit left under way goes on with the records it has.
    """
    waiting = survey.checkpoint.waiting()
    failed = _FailedRows(survey)
    numbers = count(next_task(survey.checkpoint.answers(), survey.checkpoint.unfinished))
    wanted = rows.select("row_index", "error_type", "part", "position").iter_rows()
    row_index, failed_before, part, position = next(wanted, _END)
    for batch in survey.source.batches():
        first, last = batch.rows[0].index, batch.rows[-1].index
        while row_index is not None and row_index <= last:
            row = batch.rows[row_index - first]
            found = survey.identifier.identify(row)
            under_way = _earlier(waiting, found.key, found.request_hash)
            number, history = under_way or (next(numbers), History())
            if under_way is None and failed_before:
                history = failed.continued(part, position, number, failed_before) or history
            if history.continues:
                earlier = history.continues.earlier
            else:
                earlier = failed.earlier(part, position) if failed_before else None
            yield Task(
                number=number,
                row=row.index,
                row_id=found.row_id,
                key=found.key,
                request_hash=found.request_hash,
                request=found.request,
                models=chains.of(failed_before),
                history=history,
                earlier=earlier,
                goes_on=under_way is None and history.continues is not None,
            )
            row_index, failed_before, part, position = next(wanted, _END)
        if row_index is None:
            break
    failed.close()


class _FailedRows:
    """What is kept of rows that failed before."""

    def __init__(self, survey: Survey) -> None:
        self._asks_again = survey.renderer.asks_again
        records = ["_records"] if self._asks_again else []
        self._parts = PartReader(survey.run.checkpoint, [*EARLIER_COLUMNS, *records])

    def earlier(self, part: int, position: int) -> dict[str, Any]:
        """What such a row has taken, for `Done.earlier`."""
        return earlier_askings(self._parts.take(part, [position]).to_pylist()[0])

    def continued(self, part: int, position: int, task: int, error_type: str) -> History | None:
        """The records of its last asking as those of `task`, where answers in them need not be paid again.

        A failure that needed a decision takes back the answers that led to it. None where nothing is left.
        """
        if not self._asks_again:
            return None
        (found,) = histories(self._parts.take(part, [position]))
        errors = found.done.errors if found.done else ()
        decided = error_type not in PASSING
        again = frozenset(call for call, error in enumerate(errors) if error and decided)
        history = found.continued(task, again)
        answers = (judge(answered.exchange).completion for _, answered in history.replayable())
        return history if any(answers) else None

    def close(self) -> None:
        self._parts.close()


def _earlier(
    waiting: dict[tuple[int, str], list[tuple[int, History]]], key: int, request_hash: str
) -> tuple[int, History] | None:
    found = waiting.get((key, request_hash))
    return found.pop(0) if found else None
