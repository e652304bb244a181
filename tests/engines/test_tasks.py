"""From the survey of a job to the tasks of its engine, with what an earlier submit received."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun.answer.task import Task
from batchrun.engines.tasks import Assigner, Chains
from batchrun.errors import InputError, JobError
from batchrun.index import State
from batchrun.outcome import Error
from batchrun.survey.survey import take_survey, to_do
from tests.run_folder.answering import Work, failed
from tests.run_folder.recorded import answered, done, sent, write_journal


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A job of 2,500 rows: several batches."""
    return Work(tmp_path).write([{"id": f"r{n}", "text": f"text {n}"} for n in range(2500)])


CHAINS = Chains((0, 1), (2,), frozenset({"timeout"}))


def asked_for(work: Work, *, rerun_changed: bool = False) -> list[Task]:
    found = work.survey()
    return list(Assigner(found, CHAINS).tasks(to_do(found.states(), rerun_changed=rerun_changed)))


def test_every_row_without_an_answer_is_a_task_in_input_order(work: Work) -> None:
    """Numbered onward from what is in the checkpoint, with its request."""
    work.answer([0, 999, 1000, 2499])
    found = asked_for(work)
    assert [task.row for task in found] == [n for n in range(2500) if n not in (0, 999, 1000, 2499)]
    assert [task.number for task in found] == list(range(5, 5 + 2496))
    assert all(task.model_indexes == (0, 1) for task in found)
    request = found[0].request
    assert not isinstance(request, Error)
    assert request.messages == [{"role": "user", "content": "text 1"}]
    assert request.request_hash == found[0].request_hash


def test_a_finished_run_has_none(tmp_path: Path) -> None:
    """Nor has an empty table."""
    work = Work(tmp_path).write([{"text": "a"}])
    work.answer([0])
    assert asked_for(work) == []
    assert asked_for(Work(tmp_path).write([])) == []


def test_rows_that_failed_before_are_asked_of_the_models_for_retries(work: Work) -> None:
    """The others of the job's own."""
    work.answer([3], failed)
    work.answer([4], lambda task: [sent(task), done(task, "timeout")])
    found = {task.row: task.model_indexes for task in asked_for(work)}
    assert 3 not in found
    assert (found[4], found[5]) == ((2,), (0, 1))


def test_changed_rows_are_asked_only_when_that_is_wanted(work: Work) -> None:
    """They would be paid for again."""
    work.answer([7])
    work.sections["prompt"] = {"messages": [{"role": "user", "content": "{{ text }}!"}]}
    assert 7 not in {task.row for task in asked_for(work)}
    assert 7 in {task.row for task in asked_for(work, rerun_changed=True)}


def test_a_row_that_was_under_way_goes_on_with_its_records(work: Work) -> None:
    """Under its own number; a row that is not the same request any more begins anew."""
    found = work.survey()
    rows = {task.row: task for task in asked_for(work)}
    records: list[Any] = []
    for number, row in ((40, 5), (41, 6)):
        first = sent(number)
        named = {"row": row, "key": rows[row].key, "request_hash": rows[row].request_hash}
        records += [type(first)(**{**{n: getattr(first, n) for n in first.__dataclass_fields__}, **named})]
        records += [answered(number)]
    write_journal(found.run.checkpoint_path, 1, records)
    again = {task.row: task for task in asked_for(work)}
    assert (again[5].number, again[6].number) == (40, 41)
    assert again[5].history.answered == {0: answered(40)}
    assert again[7].history.sent == {}
    assert min(task.number for row, task in again.items() if row not in (5, 6)) == 42
    work.sections["prompt"] = {"messages": [{"role": "user", "content": "{{ text }}!"}]}
    assert all(task.history.sent == {} and task.number > 41 for task in asked_for(work))


def test_equal_rows_take_the_records_of_equal_rows_one_by_one(tmp_path: Path) -> None:
    """Without ids nothing tells them apart, and no record is used twice."""
    work = Work(tmp_path).write([{"text": "same"}] * 3)
    (first, *_), found = asked_for(work), work.survey()
    records = []
    for number in (11, 12):
        record = sent(number)
        named = {"key": first.key, "request_hash": first.request_hash}
        records.append(
            type(record)(**{**{n: getattr(record, n) for n in record.__dataclass_fields__}, **named})
        )
    write_journal(found.run.checkpoint_path, 1, records)
    assert [(task.row, task.number) for task in asked_for(work)] == [(0, 11), (1, 12), (2, 13)]


def test_a_row_that_cannot_be_asked_is_a_task_with_its_error(tmp_path: Path) -> None:
    """Its outcome is recorded like any other, once."""
    work = Work(tmp_path).write([{"text": "a"}, "no json", {"other": 1}])
    found = asked_for(work)
    assert [task.request.type if isinstance(task.request, Error) else None for task in found] == [
        *(None, "bad_row", "render"),
    ]
    work.answer([1], lambda task: [done(task, "bad_row")])
    work.answer([2], lambda task: [done(task, "render")])
    assert [task.row for task in asked_for(work)] == [0]


def test_the_index_is_read_again_only_when_something_has_changed(work: Work) -> None:
    """Job, input, or an included file; anything else costs no pass over the input."""
    (work.folder / "rules.md").write_text("rules")
    content = "{% include name %}{{ text }}"
    work.sections["prompt"] = {
        "vars": {"name": "rules.md"},
        "messages": [{"role": "user", "content": content}],
    }

    def passes() -> int:
        seen: list[int] = []
        work.run.claim("job")
        survey = take_survey(work.job, on_rows=seen.append, keep_index=True)
        assert survey.facts.rows == survey.rows.height == 2500
        assert survey.columns.names == ["id", "text"]
        return len(seen)

    assert passes() > 0
    assert passes() == 0
    work.sections["output"] = {"columns": "none"}
    work.sections["retry"] = {"max_attempts": 2}
    assert passes() == 0
    (work.folder / "rules.md").write_text("RULES")
    assert passes() > 0
    os.utime(work.folder / "rows.jsonl", ns=(0, 0))
    assert passes() > 0
    work.sections["request"] = {"temperature": 1}
    assert passes() > 0
    work.sections["input"] = {"path": "rows.jsonl", "id": "id"}
    assert passes() > 0
    for name in ("index.json", "index.parquet"):
        (work.run.checkpoint_path / name).write_bytes(b"damaged")
        assert passes() > 0
        assert passes() == 0


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ({"input": {"path": "rows.jsonl", "id": "key"}}, JobError, "input.id: no row has a column `key`"),
        ({"output": {"columns": ["txt"]}}, JobError, "output.columns: the input has no column `txt`"),
        (
            {"prompt": {"messages": [{"role": "user", "content": "{{ txt }}"}]}},
            InputError,
            r"prompt.messages: no row can be rendered: rows.jsonl:1: .*`txt` is undefined",
        ),
        (
            {"input": {"path": "rows.jsonl", "where": "txt = 'a'"}},
            JobError,
            "input.where: no row has a column `txt`",
        ),
    ],
)
def test_a_column_that_no_row_has_is_told_before_anything_is_sent(
    work: Work, sections: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The job is wrong then, not its rows: with its columns, or the nearest."""
    work.sections = sections
    with pytest.raises(error, match=message) as caught:
        work.survey()
    assert "text" in str(caught.value)


def test_a_member_that_no_row_has_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """It would be null in every row, and no row be chosen."""
    work = Work(tmp_path).write([{"text": "a", "about": {"lang": "en"}}, {"text": "b", "about": None}])
    work.sections = {"input": {"path": "rows.jsonl", "where": "about.lng = 'en'"}}
    with pytest.raises(JobError, match="where: no row has a member `lng` in `about`") as caught:
        work.survey()
    assert caught.value.hint == "Name one of the members of `about`: lang"


def test_what_is_to_do_follows_from_the_states() -> None:
    """New rows and those to be tried again; changed ones when they are to be replaced."""
    states = pl.DataFrame({"row_index": range(6), "state": [int(state) for state in State]})
    assert to_do(states, rerun_changed=False)["state"].to_list() == [State.NEW, State.RETRY]
    assert to_do(states, rerun_changed=True)["state"].to_list() == [State.NEW, State.RETRY, State.CHANGED]
