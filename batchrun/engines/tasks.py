"""From the rows that a submit must ask for to the tasks of its engine."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import polars as pl

from batchrun.answer.task import Task
from batchrun.codec import hash_prefix
from batchrun.engines.spool import spooled
from batchrun.index import Identified
from batchrun.index.prefix import PREFIX
from batchrun.outcome import PASSING, Error
from batchrun.policy.judge import judge
from batchrun.run_folder.checkpoint.checkpoint import Checkpoint
from batchrun.run_folder.checkpoint.sealed import PartReader, histories
from batchrun.run_folder.columns.columns import EARLIER_COLUMNS, earlier_askings
from batchrun.run_folder.journal.history import History
from batchrun.source import Row
from batchrun.survey.survey import Survey
from batchrun.value import value


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


@value(frozen=True, slots=True)
class Assignment:
    """What a row's task begins with, before the row is read: see `Task`."""

    number: int
    model_indexes: tuple[int, ...]
    history: History
    earlier: dict[str, Any] | None = None
    goes_on: bool = False


TASK = "task"
"""A column of rows whose tasks have their numbers already."""


class Assigner:
    """Gives rows their tasks: a row that was left under way goes on with the records it has.

    Numbers begin at `first`, or after those that the checkpoint knows. `taken` are tasks that no other
    row may go on with, as theirs are with a provider.
    """

    def __init__(
        self, survey: Survey, chains: Chains, *, first: int = 0, taken: Collection[int] = ()
    ) -> None:
        self._survey = survey
        self._chains = chains
        self._numbers = count(max(first, survey.checkpoint.next_task()))
        self._under_way = _UnderWay(survey.checkpoint, taken)

    def tasks(self, rows: pl.DataFrame) -> Iterator[Task]:
        """A task for each of `rows` (see `index.match`), reading the input as it goes.

        They come in input order; where the index has PREFIX, those whose prompts begin alike one after the
        other, after one pass over the input. Raises what reading the input raises, and StorageError.
        """
        identify = self._survey.identifier.identify
        given = self.assignments(rows)
        inputs = self._survey.source.rows_at(rows["row_index"])
        found = ((row, task_of(row, identify(row), one)) for row, one in zip(inputs, given, strict=True))
        if PREFIX not in rows.columns:
            yield from (task for _row, task in found)
            return
        order = rows.with_row_index("at").sort(PREFIX, "at")["at"]
        # a request holds the renderer and is not kept on disk: the row is rendered again
        bare = ((row, replace(task, request=_LATER)) for row, task in found)
        for row, task in spooled(bare, order, self._survey.run.checkpoint_path):
            yield replace(task, request=identify(row).request)

    def assignments(self, rows: pl.DataFrame) -> Iterator[Assignment]:
        """What the tasks of `rows` begin with, in their order. Raises StorageError.

        Where tasks were left under way, `rows` must have their keys and hashes. A column `task` gives the
        numbers of those that are not.
        """
        if not self._under_way.any:
            rows = rows.with_columns(key=pl.lit(0), hash=pl.lit(0))
        if TASK not in rows.columns:
            rows = rows.with_columns(pl.lit(None, pl.Int64).alias(TASK))
        failed = _FailedRows(self._survey)
        columns = rows.select("error_type", "part", "position", "key", "hash", TASK).iter_rows()
        for failed_before, part, position, key, request_hash, given in columns:
            resumed = self._under_way.take(key, request_hash, given)
            number, history = resumed or (next(self._numbers) if given is None else given, History())
            received = len(history.lines)
            if failed_before and (resumed is None or history.continues):
                before = failed.continued(part, position, number, failed_before)
                if before is not None:  # a kill may have torn what was carried of it
                    before.merge(history)
                    history = before
            if history.continues:
                earlier = history.continues.earlier
            else:
                earlier = failed.earlier(part, position) if failed_before else None
            goes_on = history.continues is not None and len(history.lines) > received
            yield Assignment(number, self._chains.of(failed_before), history, earlier, goes_on)
        failed.close()

    def keep(self, task: Task) -> None:
        """Let a later pass go on with a task that has no outcome yet, for the same row."""
        if task.history.sent:
            self._under_way.keep(_Waiting(task.key, task.number, task.history, own=True), task.request_hash)


_LATER = Error("render", "this row has not been rendered again yet")


def task_of(row: Row, found: Identified, given: Assignment) -> Task:
    """The task of a row as it was read. Answers to another request, as after a change of a picture since the
    input was looked through, are not its own."""
    history = given.history
    own = history.continues is None  # else an edit of the schema has left answers that still count
    if own and any(sent.request_hash != found.request_hash for sent in history.sent.values()):
        history = History(sent=history.sent)
    return Task(
        number=given.number,
        row=row.index,
        row_id=found.row_id,
        key=found.key,
        request_hash=found.request_hash,
        request=found.request,
        model_indexes=given.model_indexes,
        history=history,
        earlier=given.earlier,
        goes_on=given.goes_on,
    )


class _FailedRows:
    """What is kept of rows that failed before."""

    def __init__(self, survey: Survey) -> None:
        self._asks_again = survey.renderer.asks_again
        records = ["_records"] if self._asks_again else []
        self._parts = PartReader(survey.run.checkpoint_path, [*EARLIER_COLUMNS, *records])

    def earlier(self, part: int, position: int) -> dict[str, Any]:
        """What such a row has taken, for `Done.earlier`."""
        return earlier_askings(self._parts.take(part, [position]).to_pylist()[0])

    def continued(self, part: int, position: int, task: int, error_type: str) -> History | None:
        """The records of its last task as those of `task`, where answers in them need not be paid again.

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


@value(frozen=True, slots=True)
class _Waiting:
    """A task that was left under way, and the key of its row. `own`: no other row may go on with it."""

    key: int
    number: int
    history: History
    own: bool = False


class _UnderWay:
    """The tasks that were left under way, each of them taken once.

    By the beginning of their request's hash, as the index has it: the row's own first, else one that was
    another's, or this one's under another id.
    """

    def __init__(self, checkpoint: Checkpoint, taken: Collection[int]) -> None:
        self._waiting: dict[int, list[_Waiting]] = {}
        for (key, request_hash), found in checkpoint.waiting().items():
            for number, history in found:
                self.keep(_Waiting(key, number, history, own=number in taken), request_hash)

    @property
    def any(self) -> bool:
        """Whether there ever were some."""
        return bool(self._waiting)

    def keep(self, waiting: _Waiting, request_hash: str) -> None:
        """Add one."""
        self._waiting.setdefault(hash_prefix(request_hash), []).append(waiting)

    def take(self, key: int, begins: int, number: int | None) -> tuple[int, History] | None:
        """The one for a row: of that `number`, where it is given."""
        found = self._waiting.get(begins, [])
        if number is not None:
            places = [place for place, one in enumerate(found) if one.number == number]
        else:
            places = [place for place, one in enumerate(found) if one.key == key or not one.own]
            places.sort(key=lambda place: found[place].key != key)
        if not places:
            return None
        waiting = found.pop(places[0])
        return waiting.number, waiting.history
