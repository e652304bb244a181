"""What to do next: every command that is suggested can be run as it stands."""

from __future__ import annotations

import shlex
from typing import Any

import polars as pl
import pytest

from batchrun.index import UNBOUNDED
from batchrun.run_folder.lock import locked
from batchrun.wording import counted
from tests.cli.conftest import NewJob
from tests.commands import Ended, batchrun
from tests.runs import JobFolder

CAP = {"cost_usd": 1}
PICTURE = {
    "messages": [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
        }
    ]
}
OTHER_PROMPT = {"messages": [{"role": "user", "content": "{{ text }} Be brief."}]}


def suggested(text: str, label: str) -> list[str]:
    """The words after `batchrun` of the command that stands behind a label; empty when there is none."""
    lines = [line.strip() for line in text.splitlines()]
    found = [line.removeprefix(label).strip() for line in lines if line.startswith(label)]
    return shlex.split(found[0])[1:] if found else []


def edited(job: JobFolder) -> Ended:
    """Answer every row, edit the prompt, and submit: refused."""
    batchrun("submit", "job.yaml", cwd=job.folder)
    job.edit(prompt=OTHER_PROMPT)
    refused = batchrun("submit", "job.yaml", cwd=job.folder)
    assert refused.code == 6
    return refused


def test_changed_rows_are_answered_rows_that_wait_for_a_decision(new_job: NewJob) -> None:
    """After exit code 6 the answers still count and are told apart, and the next step shows the choice."""
    job = new_job()
    edited(job)
    status = batchrun("status", "job.yaml", "--json", cwd=job.folder).json
    assert (status["ok"], status["pending"], status["changed"]) == (3, 0, 3)
    said = batchrun("status", "job.yaml", cwd=job.folder).out
    assert "3 ok (3 in all)" in said
    assert "3 of them answer an older prompt: --rerun-changed, --keep-changed or --name NEW" in said
    assert suggested(said, "to go on") == []
    planned = batchrun(*suggested(said, "to decide"), cwd=job.folder)
    assert planned.code == 6
    assert "--rerun-changed replaces" in " ".join(planned.out.split())


def test_going_on_with_changed_rows(new_job: NewJob) -> None:
    """What `submit --rerun-changed --limit` suggests asks for the rest."""
    job = new_job()
    edited(job)
    ended = batchrun("submit", "job.yaml", "--rerun-changed", "--limit", "2", cwd=job.folder)
    assert suggested(ended.err, "to go on") == ["submit", "job.yaml", "--rerun-changed"]
    assert "2 ok, 1 pending" in ended.err
    assert "1 of the pending keeps its answer to the older prompt until asked again" in ended.err
    status = batchrun("status", "job.yaml", cwd=job.folder).out
    assert status.startswith("job: rows pending, as --limit asked\n")
    assert "1 of them answers an older prompt: pending, to be asked again (--rerun-changed)" in status
    assert suggested(status, "to go on") == suggested(ended.err, "to go on")
    ended = batchrun(*suggested(ended.err, "to go on"), "--json", cwd=job.folder)
    assert (ended.code, ended.json["ok"], ended.json["submit"]["calls"]) == (0, 3, 1)


def test_stale_rows_are_told_when_there_is_nothing_to_do(new_job: NewJob) -> None:
    """Kept answers are mentioned with the way to ask again, which plan knows too, and which does it."""
    job = new_job()
    edited(job)
    batchrun("submit", "job.yaml", "--keep-changed", cwd=job.folder)
    said = batchrun("submit", "job.yaml", cwd=job.folder).err
    assert "nothing to do, all 3 rows are done, 3 of them stale (--rerun-changed asks again)" in said
    plan = batchrun("plan", "job.yaml", "--rerun-changed", "--json", cwd=job.folder).json
    assert (plan["to_do"], plan["rows"]["changed"]) == (3, 3)
    ended = batchrun("submit", "job.yaml", "--rerun-changed", "--json", cwd=job.folder).json
    assert (ended["submit"]["calls"], ended["stale"]) == (3, 0)


def test_a_refused_input_is_no_killed_run(new_job: NewJob) -> None:
    """When no submit came so far as to ask, the run has not started."""
    job = new_job()
    job.rows.write_text(job.rows.read_text() * 2)
    assert batchrun("submit", "job.yaml", cwd=job.folder).code == 2
    assert batchrun("status", "job.yaml", "--json", cwd=job.folder).json["state"] == "not started"
    said = batchrun("status", "job.yaml", cwd=job.folder).out
    assert "cut off" not in said
    assert suggested(said, "to go on") == ["submit", "job.yaml"]


def test_plan_suggests_no_submit_that_is_refused(new_job: NewJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """While something stops a submit, plan says what to do about that instead."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    job = new_job()
    assert suggested(batchrun("plan", "job.yaml", cwd=job.folder).out, "next")
    said = batchrun("plan", "job.yaml", "--model", "openai/gpt-4.1-mini", cwd=job.folder).out
    assert "lacks OPENAI_API_KEY (endpoint openai). Set it with `export" in said
    assert suggested(said, "next") == []
    edited(job)
    job.rows.write_text(job.rows.read_text() + '{"id": "new", "text": "row 000009: new"}\n')
    said = batchrun("plan", "job.yaml", cwd=job.folder).out
    assert "stops with exit code 6: 3 finished rows would be paid for again" in said
    assert suggested(said, "next") == []
    words = suggested(batchrun("plan", "job.yaml", "--rerun-changed", cwd=job.folder).out, "next")
    assert words == ["submit", "job.yaml", "--rerun-changed"]


def test_plan_suggests_the_submit_that_it_planned(run: JobFolder) -> None:
    """Options of the plan are options of its submit."""
    said = batchrun("plan", "job.yaml", "--retry-failed=refusal", cwd=run.folder).out
    assert suggested(said, "next") == ["submit", "job.yaml", "--retry-failed=refusal"]
    said = batchrun("plan", "job.yaml", "--retry-failed", cwd=run.folder).out
    assert suggested(said, "next") == ["submit", "job.yaml", "--retry-failed"]


@pytest.mark.parametrize(
    ("sections", "first"),
    [
        ({"budget": {"requests": 2}}, "raise the budget"),
        ({"budget": CAP, "request": {}}, "set request.max_completion_tokens or budget.soft: true"),
        ({"budget": CAP, "prompt": PICTURE}, "set budget.soft: true"),
    ],
)
def test_what_to_change_before_going_on(new_job: NewJob, sections: dict[str, Any], first: str) -> None:
    """A cap is raised; where a request without an upper bound came as far as its call, that is no help."""
    job = new_job(prices={"local/small": {"input": 1, "output": 1}}, **sections)
    ended = batchrun("submit", "job.yaml", cwd=job.folder)
    if ended.code == 2:  # it was found before: let the index say otherwise
        index = job.checkpoint / "index.parquet"
        pl.read_parquet(index).with_columns(pl.lit(value=False).alias(UNBOUNDED)).write_parquet(index)
        ended = batchrun("submit", "job.yaml", cwd=job.folder)
    assert ended.code == 3
    said = " ".join(ended.err.split())
    assert f"to go on {first}, then batchrun submit job.yaml" in said


def test_plan_says_by_its_exit_code_that_a_submit_is_refused(new_job: NewJob) -> None:
    """As the submit does; and while another is running it can be looked at."""
    job = new_job(budget=CAP)
    for verb in ("plan", "submit"):
        assert batchrun(verb, "job.yaml", cwd=job.folder).code == 2
    job.edit(budget={})
    with locked(job.checkpoint / "lock"):
        plan = batchrun("plan", "job.yaml", "--json", cwd=job.folder)
        assert (plan.code, plan.json["running"], len(plan.json["obstacles"])) == (0, True, 1)


def test_suggested_commands_read_the_same_variables(new_job: NewJob) -> None:
    """A command that needs `--env-file` is suggested with it."""
    job = new_job()
    (job.folder / "keys.env").write_text("PATIENCE=5\n")
    (job.folder / "keys.env").chmod(0o600)
    job.edit(retry={"max_wait": "${PATIENCE}"})
    words = ("--env-file", "keys.env")
    ended = batchrun("submit", "job.yaml", *words, "--limit", "1", cwd=job.folder)
    assert suggested(ended.err, "to go on") == ["submit", "job.yaml", *words]
    assert batchrun(*suggested(ended.err, "to go on"), cwd=job.folder).code == 0


def test_the_model_of_failed_rows_is_not_suggested_for_the_others(new_job: NewJob) -> None:
    """With --retry-failed, --model is for those rows: going on is a submit of the job as it is."""
    job = new_job(8)
    batchrun("submit", "job.yaml", "--limit", "7", cwd=job.folder)
    words = ("--retry-failed", "--model", "local/large", "--limit", "1")
    ended = batchrun("submit", "job.yaml", *words, cwd=job.folder)
    assert suggested(ended.err, "to go on") == ["submit", "job.yaml"]


def test_results_without_a_row_are_not_offered_for_reading(new_job: NewJob) -> None:
    """What cannot be looked at is not named; what is said of the whole run stands before this submit."""
    job = new_job()
    ended = batchrun("submit", "job.yaml", "--model", "local/locked", cwd=job.folder)
    assert "read them" not in ended.err
    said = batchrun("submit", "job.yaml", cwd=job.folder).err
    labels = [line[2:14].strip() for line in said.splitlines() if line.startswith("  ")]
    assert labels == ["rows", "tokens", "latency", "this time", "cut off", "results", "read them"]


@pytest.mark.parametrize(("number", "said"), [(0, "0 rows"), (1, "1 row"), (1200, "1,200 rows")])
def test_one_is_no_plural(number: int, said: str) -> None:
    """One row is a row."""
    assert counted(number, "row") == said


def test_a_run_of_one_row(new_job: NewJob) -> None:
    """A single row is spoken of as one."""
    job = new_job(1)
    assert "finished, 1 row" in batchrun("submit", "job.yaml", cwd=job.folder).err
    assert "nothing to do, the 1 row is done" in batchrun("submit", "job.yaml", cwd=job.folder).err
    shown = [batchrun(verb, "job.yaml", cwd=job.folder) for verb in ("plan", "status", "show", "gc")]
    assert not [word for word in ("1 rows", "1 calls", "1 tokens") if word in str(shown)]


def test_a_submit_says_that_the_results_have_fewer_rows(new_job: NewJob) -> None:
    """Rows that are taken out, or no longer chosen, leave the results: nobody is to find that out later."""
    job = new_job(5)
    batchrun("submit", "job.yaml", cwd=job.folder)
    fewer = batchrun("submit", "job.yaml", "--set", "input.limit=3", cwd=job.folder)
    assert "2 rows fewer than at the last submit are chosen of the input" in fewer.err
    assert len(job.results()) == 3
    assert "fewer" not in batchrun("submit", "job.yaml", cwd=job.folder).err
    assert len(job.results()) == 5
