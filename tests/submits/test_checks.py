"""The checks of a job: what each key counts, over results as they are published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from batchrun.checks.checks import evaluate, published_groups
from batchrun.errors import JobError
from batchrun.run_folder.results.read import scan_run
from batchrun.show.show import Choice, choose
from batchrun.summary import CheckOutcome
from batchrun.survey.layout import layout_of
from tests.run_folder.answering import Records, Work, failed
from tests.run_folder.recorded import answered, done, sent
from tests.runs import simulated

LABELS: dict[str, Any] = {
    "type": "object",
    "properties": {"label": {"type": "string"}, "is_spam": {"type": "boolean"}, "score": {"type": "number"}},
}
ROWS = 10


def saying(**parsed: Any) -> Records:
    """An answer that was read as this."""
    return lambda task: [
        sent(task),
        answered(task),
        replace(done(task), reading={"parsed": parsed}),
    ]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Ten finished rows: three say `a`, of which two should; four say `b`; two nothing; one failed."""
    gold = ["a", "a", "b", "b", "b", "b", None, "a", "b", "a"]
    work = Work(tmp_path).write(
        {"text": f"t{n}", "gold_label": gold[n], "odd name": n, "order": n, "is_new": n < 4, "ok": str(n)}
        for n in range(ROWS)
    )
    work.sections = {"schema": LABELS}
    work.answer([0, 1, 2], saying(label="a", is_spam=False))
    work.answer([3, 4, 5, 6], saying(label="b", is_spam=True))
    work.answer([7, 8])
    work.answer([9], failed)
    work.publish()
    return work


def outcomes(work: Work, checks: Mapping[str, str]) -> dict[str, CheckOutcome]:
    """What comes of these checks, by their names."""
    work.sections = {**work.sections, "checks": checks}
    found = work.survey()
    columns = layout_of(found.job, found.renderer, found.columns).schema()
    return {check.name: check for check in evaluate(found.job, columns, work.run.results)}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("failed", 1),
        ("ok", 9),
        ("parsed", 7),
        ("error_type", 1),
        ("gold_label", 9),
        ("odd name", 10),
        ("order", 10),
        ("stale", 0),
        ("is_new", 4),
        ("parsed.label", 7),
        ("parsed.score", 0),
        ("parsed.is_spam", 4),
        ("parsed.label = gold_label", 5),
        ("parsed.label = 'a' OR gold_label = 'a'", 5),
        ("NOT parsed.is_spam", 3),
        ("parsed.label IS NULL AND status = 'ok'", 2),
        ('"odd name" > 4', 5),
        ('"odd name" >= 0', 10),
        ("\"ok\" = '3'", 1),
        ("error.type = 'invalid_request'", 1),
        ("input_status IS NULL", None),
        ("1 = 1", 10),
        ("NULL", 0),
    ],
)
def test_what_a_key_counts(work: Work, name: str, found: int | None) -> None:
    """`failed` and `ok` are states; a column counts where it is true or has a value; the rest is SQL, in
    which a null is not true."""
    if found is None:
        with pytest.raises(JobError, match="no column `input_status`"):
            outcomes(work, {name: ">= 0"})
        return
    check = outcomes(work, {name: f"= {found}"})[name]
    assert (check.found, check.rows, check.share, check.holds, check.error) == (
        found,
        ROWS,
        found / ROWS,
        True,
        None,
    )


@pytest.mark.parametrize(
    ("name", "wanted", "shown"),
    [
        ("failed", "<= 0", [9]),
        ("ok", ">= 100%", [9]),
        ("failed", ">= 2", list(range(9))),
        ("ok", "< 9", list(range(9))),
        ("parsed", ">= 99%", [7, 8, 9]),
        ("parsed", "< 10%", [0, 1, 2, 3, 4, 5, 6]),
        ("odd name", "< 1", list(range(10))),
        ("order", "= 3", list(range(10))),
        ("parsed.is_spam", "<= 10%", [3, 4, 5, 6]),
        ("parsed.is_spam", ">= 90%", [0, 1, 2, 7, 8, 9]),
        ("stale", ">= 1", list(range(10))),
        ("parsed.label = gold_label", ">= 92%", [2, 6, 7, 8, 9]),
        ("parsed.label = gold_label", "<= 3", [0, 1, 3, 4, 5]),
        ("parsed.label = 'a' OR gold_label = 'a'", "= 50.1%", [3, 4, 5, 6, 8]),
    ],
)
def test_the_rows_that_speak_against_a_check_can_be_shown(
    work: Work, name: str, wanted: str, shown: list[int]
) -> None:
    """What it says to look at is a condition for `show --where`, nulls included."""
    check = outcomes(work, {name: wanted})[name]
    assert not check.holds
    found = choose(scan_run(work.run), Choice(where=check.where))
    assert found.positions.to_list() == shown


def test_there_is_nothing_to_look_at_where_no_row_is_to_blame(work: Work) -> None:
    """Of ten rows no eleven are there; and a check that holds blames nobody."""
    checks = outcomes(work, {"parsed": ">= 70%", '"odd name" >= 0': ">= 11", "stale": "> 0", "1 = 2": "= 5"})
    assert [check.where for check in checks.values()] == [
        None,
        None,
        "NOT COALESCE(stale, FALSE)",
        "NOT COALESCE(1 = 2, FALSE)",
    ]


def test_all_row_groups_are_counted(work: Work) -> None:
    """They are read one at a time, as answers may be large."""
    (part,) = work.run.results.glob("*.parquet")
    pq.write_table(pq.read_table(part), part, row_group_size=3)
    groups = list(published_groups(work.run.results, ["status", "parsed"]))
    assert [group.height for group in groups] == [3, 3, 3, 1]
    assert {check.holds for check in outcomes(work, {"parsed": "= 7", "failed": "= 1"}).values()} == {True}


def test_a_value_that_a_condition_cannot_take_is_no_crash(work: Work) -> None:
    """The run was paid for: the check does not hold, and says why; the others are counted."""
    sql = f"CAST(gold_label AS INT) IN ({', '.join(map(str, range(100)))})"
    found = outcomes(work, {sql: ">= 0", "ok": "= 9", f"TRY_{sql}": "= 0"})
    check = found[sql]
    assert (check.found, check.share, check.holds, check.where) == (None, None, False, None)
    assert "does not fit the rows" in str(check.error)
    text, remedy = str(check.error).split("; ")
    assert (len(text), text[-1]) == (301, "…")
    assert remedy == "TRY_CAST makes null of what does not fit"
    assert [one.holds for one in found.values()] == [False, True, True]


def test_of_no_rows_shares_hold_and_numbers_do_not(tmp_path: Path) -> None:
    """Also where nobody knows which columns there are."""
    work = Work(tmp_path).write([])
    work.sections = {"input": {"path": "rows.jsonl"}}
    work.publish()
    found = outcomes(work, {"failed": "<= 1%", "gold = 'a'": ">= 92%", "ok": ">= 1"})
    assert [check.holds for check in found.values()] == [True, True, False]
    assert {check.share for check in found.values()} == {None}


def test_columns_that_no_row_could_tell_are_told(tmp_path: Path) -> None:
    """All lines are bad: the rows have failed, and a check on an input column says that it has none."""
    work = Work(tmp_path).write(["no json", "nor this"])
    work.answer([0, 1], lambda task: [done(task, "bad_row")])
    work.publish()
    found = outcomes(work, {"failed": "<= 1%", "gold = 'a'": ">= 92%"})
    assert [check.found for check in found.values()] == [2, None]
    assert "the results have no column `gold`" in str(found["gold = 'a'"].error)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("parsd", "checks.parsd: the results have no column `parsd`. Did you mean parsed?"),
        ("faild", "no column `faild`. Did you mean failed?"),
        ("parsed.label = gold_labl", "no column `gold_labl`. Did you mean gold_label?"),
        ("parsed.labl", "no struct in it has a member `labl`"),
        ("parsed.labl = 'a'", "parsed: struct<label: string, is_spam: bool, score: double>"),
        ("latency", None),
        ("latency + 1", "gives Float64, not true or false"),
        ("latency > 'a'", "does not fit the rows"),
        ("parsed = ", "is no SQL condition"),
        ("SELECT 1", "holds a query"),
        ('"*"', "stand for several columns"),
        ("latency > avg(latency)", "sets a row against others"),
        ("status = 'ok' -- all", "holds a comment"),
    ],
)
def test_a_check_that_cannot_be_counted_is_found_before_the_first_call(
    work: Work, name: str, message: str | None
) -> None:
    """With the line and the key; members and types too."""
    work.sections = {**work.sections, "checks": {"failed": "<= 1%", name: ">= 99%"}}
    if message is None:
        work.survey()
        return
    with pytest.raises(JobError) as caught:
        work.survey()
    assert str(caught.value).startswith("job.yaml:1: checks.")
    assert message in str(caught.value)
    assert caught.value.hint


def test_an_input_column_that_is_not_carried_is_none_of_the_results(work: Work) -> None:
    """The message says where it is lost."""
    work.sections = {**work.sections, "output": {"columns": "none"}, "checks": {"is_new": ">= 1"}}
    with pytest.raises(JobError, match="no column `is_new`") as caught:
        work.survey()
    assert "output.columns says which of the input's" in str(caught.value.hint)


def test_checks_decide_on_the_exit_code(tmp_path: Path) -> None:
    """Alone where they are given; and they can be changed at no cost."""
    config = {"faults": [{"match": "row 000003:", "status": 400}]}
    with simulated(tmp_path, rows=10, config=config) as job:
        first = job.submit_here()
        assert (first.exit_code, first.failed) == (1, 1)
        (check,) = first.checks
        assert (check.name, check.wanted, check.holds) == ("failed", "<= 0", False)
        codes = {}
        for checks in (
            {"failed": "<= 10%"},
            {"failed": "< 10%"},
            {"completion": ">= 90%", "latency > 0": ">= 9"},
            {"completion": "> 90%", "failed": "<= 10%"},
            {},
        ):
            job.edit(checks=checks)
            again = job.submit_here()
            assert (again.submit["calls"], again.state) == (0, "finished")
            assert [check.name for check in again.checks] == list(checks)
            codes[str(checks)] = again.exit_code
    assert list(codes.values()) == [0, 1, 0, 1, 0]


def test_pending_rows_leave_the_checks_undecided(tmp_path: Path) -> None:
    """With --limit they are shown for the rows so far; with the last row they decide, limit or not."""
    with simulated(tmp_path, rows=4, checks={"ok": ">= 100"}) as job:
        first = job.submit_here(limit=2)
        assert (first.exit_code, first.pending) == (0, 2)
        assert [(check.found, check.rows, check.holds) for check in first.checks] == [(2, 2, False)]
        last = job.submit_here(limit=2)
        assert (last.exit_code, last.pending, last.checks[0].rows) == (1, 0, 4)


def test_a_stop_keeps_its_exit_code(tmp_path: Path) -> None:
    """What was not finished is not judged."""
    with simulated(tmp_path, rows=4, checks={"ok": ">= 100"}, budget={"requests": 2}) as job:
        stopped = job.submit_here()
    assert (stopped.exit_code, stopped.checks[0].holds) == (3, False)


def test_the_counts_are_those_of_all_parts(tmp_path: Path) -> None:
    """Of stale rows too: they are finished."""
    with simulated(tmp_path, rows=12, checks={"stale": "<= 50%", "n % 2 = 0": "= 50%"}) as job:
        job.submit_here(limit=10)
        job.edit(request={"max_completion_tokens": 10})
        summary = job.submit_here(keep_changed=True)
        results = job.results()
    assert summary.stale == results["stale"].sum() == 10
    assert [(check.found, check.rows) for check in summary.checks] == [(10, 12), (6, 12)]
    assert summary.exit_code == 1
    assert results.filter(pl.col("n") % 2 == 0).height == 6
