"""What is remembered between two submits, whenever the one before was killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from batchrun.run_folder.checkpoint.checkpoint import (
    PAIRS_SCHEMA,
    read_checkpoint,
    read_kept,
    write_admitted,
    write_kept,
)
from batchrun.run_folder.checkpoint.sealed import ANSWERS_SCHEMA
from batchrun.run_folder.journal.records import Admitted, Record, Sent
from tests.run_folder.recorded import LOST, answered, asked, done, reply, request_hash, sent, write_journal


def tasks_of(answers: pl.DataFrame) -> list[int]:
    return sorted(answers["task"].to_list())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    """The first submit."""
    found = read_checkpoint(tmp_path)
    assert found.answers().schema == ANSWERS_SCHEMA
    assert (found.next_number, found.unfinished, found.possibly_paid()) == (1, {}, 0)
    assert found.next_task() == 1


def test_reading_changes_nothing(tmp_path: Path) -> None:
    """A run can be looked at while it is at work, or has been killed."""
    path = write_journal(tmp_path, 1, [*asked(1), sent(2)])
    path.write_bytes(path.read_bytes()[:-5])
    before = files(tmp_path)
    found = read_checkpoint(tmp_path)
    assert tasks_of(found.answers()) == [1]
    assert found.answers()["part"].to_list() == [-1], "a journal's, not sealed yet"
    assert [(item.line, item.is_tail) for item in found.damage] == [(5, True)]
    assert files(tmp_path) == before


def test_sealing_twice_is_the_same_as_once(tmp_path: Path) -> None:
    """The parts too, byte by byte; a journal goes once no task in it is unfinished."""
    write_journal(tmp_path, 1, [*asked(1), sent(9)])
    write_journal(tmp_path, 2, asked(2))
    read_checkpoint(tmp_path).seal()
    first = files(tmp_path)
    read_checkpoint(tmp_path).seal()
    assert files(tmp_path) == first
    assert first.keys() == {
        "journal-000001.log",
        "journal-000002.log",
        "sealed-000001.parquet",
        "sealed-000002.parquet",
    }
    assert tasks_of(read_checkpoint(tmp_path).answers()) == [1, 2]


def test_a_finished_journal_goes_when_it_is_sealed(tmp_path: Path) -> None:
    """And its number is not used again."""
    write_journal(tmp_path, 3, asked(1))
    found = read_checkpoint(tmp_path)
    found.seal()
    assert files(tmp_path).keys() == {"sealed-000003.parquet"}
    assert (found.next_number, read_checkpoint(tmp_path).next_number) == (4, 4)


def test_a_kill_between_sealing_and_removing_counts_every_task_once(tmp_path: Path) -> None:
    """Both files are there then."""
    journal = write_journal(tmp_path, 1, [*asked(1), *asked(2)])
    kept = shutil.copy(journal, tmp_path / "copy")
    read_checkpoint(tmp_path).seal()
    Path(kept).rename(journal)
    found = read_checkpoint(tmp_path)
    assert tasks_of(found.answers()) == [1, 2]
    assert found.unsealed == {}


def test_an_unfinished_task_is_put_together_from_all_files(tmp_path: Path) -> None:
    """A kill while a new file was being opened leaves some of it in both."""
    early: list[Record] = [sent(1), answered(1, 0, reply(b"{}", 503)), sent(2)]
    write_journal(tmp_path, 1, early)
    write_journal(tmp_path, 2, [Admitted({}), *early, sent(1, 1), answered(1, 1, LOST), answered(2), done(2)])
    found = read_checkpoint(tmp_path)
    assert found.unfinished.keys() == {1}
    history = found.unfinished[1]
    assert history.sent.keys() == history.answered.keys() == {0, 1}
    assert len(history.lines) == 4
    assert tasks_of(found.answers()) == [2]
    assert found.next_task() == 3


def test_an_older_file_does_not_reopen_a_task_that_a_later_one_finished(tmp_path: Path) -> None:
    """Also when the later one is sealed already."""
    write_journal(tmp_path, 1, [sent(1)])
    write_journal(tmp_path, 2, asked(1))
    read_checkpoint(tmp_path).seal()
    found = read_checkpoint(tmp_path)
    assert found.unfinished == {}
    assert tasks_of(found.answers()) == [1]


def test_calls_without_an_answer_are_possibly_paid(tmp_path: Path) -> None:
    """Those of tasks that are not finished; a lost answer is an answer here, its own row tells of it."""
    write_journal(tmp_path, 1, [*asked(1), sent(2), sent(2, 1), sent(3), answered(3, 0, LOST), sent(4)])
    assert read_checkpoint(tmp_path).possibly_paid() == 3


def test_waiting_tasks_are_found_by_key_and_request(tmp_path: Path) -> None:
    """In the order in which they were begun; equal rows wait one behind the other."""
    twin = Sent(**{**{name: getattr(sent(1), name) for name in Sent.__dataclass_fields__}, "task": 7})
    write_journal(tmp_path, 1, [twin, sent(1), sent(2)])
    waiting = read_checkpoint(tmp_path).waiting()
    assert {name: [task for task, _ in found] for name, found in waiting.items()} == {
        (1, request_hash(1)): [1, 7],
        (2, request_hash(2)): [2],
    }


@pytest.mark.parametrize("state", [{}, {"windows": [1.5]}])
def test_what_the_rate_windows_held_is_the_newest_of_it(tmp_path: Path, state: dict[str, object]) -> None:
    """And the calls since then."""
    write_admitted(tmp_path, {"windows": [0.5]})
    assert read_checkpoint(tmp_path).admitted == {"windows": [0.5]}
    write_journal(tmp_path, 1, [Admitted({"windows": [1.0]}), *asked(1)])
    write_journal(tmp_path, 2, [Admitted(state), sent(2), answered(2, 0, reply(b"{}", 429))])
    found = read_checkpoint(tmp_path)
    assert found.admitted == (state or {"windows": [1.0]})
    assert sent(2) in found.sent
    assert (sent(1) in found.sent) is not bool(state)
    assert [call.task for call, _ in found.back_offs] == [2]


def test_a_damaged_note_of_the_windows_is_none(tmp_path: Path) -> None:
    """They fill up again by themselves."""
    (tmp_path / "admitted.json").write_bytes(b"{")
    assert read_checkpoint(tmp_path).admitted == {}


def test_kept_answers_are_remembered_once_each(tmp_path: Path) -> None:
    """By key and hash."""
    assert read_kept(tmp_path).schema == pl.DataFrame(schema=PAIRS_SCHEMA).schema
    rows = pl.DataFrame({"key": [2**64 - 1, 1, 1], "hash": [1, 2, 2]}, schema=PAIRS_SCHEMA)
    write_kept(tmp_path, rows)
    assert sorted(read_kept(tmp_path).rows()) == [(1, 2), (2**64 - 1, 1)]


def test_a_task_that_a_later_file_finished_is_not_under_way(tmp_path: Path) -> None:
    """Also when that file is sealed and gone, while the one before it could not be sealed."""
    write_journal(tmp_path, 1, [*asked(1), sent(2)])
    write_journal(tmp_path, 2, asked(2))
    later = read_checkpoint(tmp_path)
    del later.unsealed[1]
    later.seal()
    (tmp_path / "journal-000002.log").unlink(missing_ok=True)
    if not (tmp_path / "journal-000001.log").exists():
        write_journal(tmp_path, 1, [*asked(1), sent(2)])
    found = read_checkpoint(tmp_path)
    assert (found.unfinished, found.possibly_paid()) == ({}, 0)
    assert tasks_of(found.answers()) == [1, 2]


@pytest.mark.parametrize(
    ("status", "header", "kept"),
    [(429, False, True), (500, True, True), (500, False, False), (200, True, False)],
)
def test_answers_that_say_when_to_come_back_are_remembered(
    tmp_path: Path, status: int, header: bool, kept: bool
) -> None:
    """A Retry-After binds whatever the status of the refusal; it is honoured after a kill."""
    headers = {"retry-after": "8"} if header else {}
    write_journal(tmp_path, 1, [sent(1), answered(1, exchange=reply(b"{}", status, **headers))])
    assert bool(read_checkpoint(tmp_path).back_offs) == kept
