"""Answers to an older request that the results do not show: which of them rows still stand by."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchrun.run_folder.checkpoint.older import has_ids
from batchrun.run_folder.results.read import scan_run, see
from tests.run_folder.answering import Work, failed

ROWS = [{"id": "a", "text": "one"}, {"id": "b", "text": "two"}]
EDITED = {"messages": [{"role": "user", "content": "{{ text }}!"}]}
AGAIN = {"messages": [{"role": "user", "content": "{{ text }}?"}]}


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Two rows with ids."""
    found = Work(tmp_path).write(ROWS)
    found.sections["input"] = {"path": "rows.jsonl", "id": "id"}
    return found


def shown(work: Work) -> list[tuple[str, str | None, bool]]:
    return scan_run(work.run).select("row_id", "completion", "stale").collect().rows()


def test_an_answer_stands_until_there_is_one_to_the_new_request(work: Work) -> None:
    """Row by row; also one that is published, and one that failed."""
    work.answer([0, 1])
    work.sections["prompt"] = EDITED
    work.survey()
    assert shown(work) == [("a", "answer 1", True), ("b", "answer 2", True)]
    work.answer([0])
    assert shown(work) == [("a", "answer 3", False), ("b", "answer 2", True)]
    work.publish()
    assert see(work.run).since.is_empty()
    work.answer([1], failed)
    assert shown(work) == [("a", "answer 3", False), ("b", None, False)]


def test_of_several_older_answers_the_newest_stands(work: Work) -> None:
    """As a publication would show it, in the place of what is published."""
    work.answer([0, 1])
    work.publish()
    work.sections["prompt"] = EDITED
    work.answer([1])
    work.sections["prompt"] = AGAIN
    work.survey()
    before = shown(work)
    assert before == [("a", "answer 1", False), ("b", "answer 3", True)]
    work.publish()
    assert shown(work) == [("a", "answer 1", True), before[1]]


def test_an_older_answer_of_a_row_that_has_anothers_does_not_come_back(work: Work) -> None:
    """Two rows whose contents were swapped have the answers to their requests, whoever had asked."""
    work.answer([0, 1])
    work.write([{"id": "a", "text": "three"}, ROWS[1]])
    work.answer([0])
    work.write([{"id": "a", "text": "two"}, {"id": "b", "text": "one"}])
    work.publish()
    assert work.results()["completion"].to_list() == ["answer 2", "answer 1"]
    assert see(work.run).since.is_empty()


def test_answers_of_removed_rows_do_not_come_back(work: Work) -> None:
    """They stay in the checkpoint, for nobody."""
    work.answer([0, 1])
    work.sections["prompt"] = EDITED
    work.write(ROWS[1:])
    work.survey()
    assert shown(work) == [("b", "answer 2", True)]


@pytest.mark.parametrize("note", [None, b"", b"{}"])
def test_a_folder_that_does_not_say_has_ids(tmp_path: Path, note: bytes | None) -> None:
    """The note is missing for a moment while a submit writes it anew."""
    if note is not None:
        (tmp_path / "index.json").write_bytes(note)
    assert has_ids(tmp_path)
