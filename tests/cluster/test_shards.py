"""Ranges of a run's rows: where to begin to read, and what is left of one whose worker was lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from batchrun.clock import SystemClock
from batchrun.cluster.shards import LEAST_ROWS, Given, Shards
from batchrun.engines.tasks import Assignment
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.records import Sent
from batchrun.source import Mark, marks, open_source


def rows(number: int) -> pl.DataFrame:
    schema = {"row_index": pl.Int64, "hash": pl.UInt64}
    return pl.DataFrame({"row_index": range(number), "hash": range(number)}, schema=schema)


def sent(task: int, call: int) -> Sent:
    return Sent(task, call, task, task, "0" * 64, "e/m", "e", 0, 0.0, 1)


def assigned(number: int) -> Iterator[Assignment]:
    return (Assignment(task, (0,), History()) for task in range(number))


def test_what_was_not_carried_yet_is_carried_by_the_next_worker(tmp_path: Path) -> None:
    """The journal has a part of what a row goes on from, as a kill left it: that is not all there is."""
    journal = Journal(tmp_path, 1, SystemClock())
    history = History()
    for call in range(3):
        record = sent(0, call)
        history.add(record, encode(record))
    journal.carry(0, history.lines[:1])
    given = Assignment(0, (0,), history, goes_on=True)
    shards = Shards(rows(1), iter([given]), iter(()), workers=1)
    first = shards.next()
    assert first is not None
    shards.take_back(Given(first), journal)
    again = shards.next()
    assert again is not None
    assert again.assignments == (given,)
    journal.carry(0, history.lines)
    shards.take_back(Given(again), journal)
    last = shards.next()
    assert last is not None
    (one,) = last.assignments
    assert not one.goes_on
    assert one.history.sent == history.sent
    journal.close()


def test_the_input_is_read_no_further_than_the_ranges(tmp_path: Path) -> None:
    """Marks are found by reading it: a range has the last one at or before its first row."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"n": "x" * 20_000}) + "\n" for number in range(200)))
    all_marks = list(marks(open_source(str(path), root=tmp_path).files, every=200_000))
    asked: list[Mark] = []

    def counted() -> Iterator[Mark]:
        for mark in all_marks:
            asked.append(mark)
            yield mark

    shards = Shards(rows(200), assigned(200), counted(), workers=2)
    first, second = shards.next(), shards.next()
    assert first is not None
    assert second is not None
    assert first.mark == all_marks[0]
    assert second.mark == max((m for m in all_marks if m.row <= LEAST_ROWS), key=lambda mark: mark.row)
    assert asked[-1].row <= LEAST_ROWS + 100
    assert len(asked) < len(all_marks)
