"""A job edited while its run is half done, has failed rows, or keeps older answers."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from batchrun.errors import ChangedRowsError
from batchrun.gc import collect
from batchrun.job import load_job
from batchrun.run_folder.checkpoint.checkpoint import read_kept
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import scan_run, see
from tests.commands import batchrun
from tests.runs import JobFolder, asked, simulated
from tests.submits.test_structured import SCHEMA

EDITED = {"messages": [{"role": "user", "content": "{{ text }} Be brief."}]}
AGAIN = {"messages": [{"role": "user", "content": "{{ text }} Be long."}]}
TURNS = {"messages": [{"role": "user", "content": "{{ text }}"}], "turns": [{"content": "And why?"}]}


def kill(job: JobFolder, calls: int) -> None:
    """Submit, and kill once the simulator has received so many calls."""
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and (not job.ledger.exists() or len(job.calls()) < calls):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def relabel(job: JobFolder) -> None:
    """Change a cell of every row that no prompt uses."""
    rows = [json.loads(line) for line in job.rows.read_text().splitlines()]
    job.rows.write_text("".join(json.dumps({**row, "n": row["n"] + 1000}) + "\n" for row in rows))


def test_a_prompt_edited_after_a_kill_stops_for_the_answered_rows_alone(tmp_path: Path) -> None:
    """Rows that were never answered take the new prompt; the others wait for a choice: nothing is mixed."""
    latency = {"kind": "constant", "seconds": 0.05}
    with simulated(tmp_path, rows=30, config={"latency": latency}) as job:
        job.edit(
            endpoints={
                "local": {
                    **json.loads(job.job.read_text())["endpoints"]["local"],
                    "limits": {"concurrency": 4},
                }
            }
        )
        kill(job, 16)
        job.edit(prompt=EDITED)
        before = len(job.calls())
        with pytest.raises(ChangedRowsError) as stopped:
            job.submit_here()
        answered = int(stopped.value.message.split()[0])
        assert 8 <= answered <= before
        assert len(job.calls()) == before
        summary = job.submit_here(keep_changed=True)
        assert (summary.ok, summary.stale) == (30, answered)
        assert len(job.calls()) == before + 30 - answered
        results = job.results()
        stale = set(results.filter(stale=True)["row_index"])
        brief = {row for row, calls in asked(job.calls()).items() if any("brief" in c.prompt for c in calls)}
        assert brief == set(range(30)) - stale


def test_a_conversation_under_way_goes_on_although_the_rows_are_relabelled(tmp_path: Path) -> None:
    """Without ids a row is known by its request: its first turn is not paid for again."""
    faults = [{"mentions": "And why?", "first": 1, "stall": 60}]
    with simulated(
        tmp_path, rows=1, config={"faults": faults}, input={"path": "rows.jsonl"}, prompt=TURNS
    ) as job:
        kill(job, 2)
        relabel(job)
        assert job.submit_here().ok == 1
        assert [call.prompt[:3] for call in job.calls()] == ["row", "And", "And"]


def test_failed_rows_take_an_edit_without_a_choice(tmp_path: Path) -> None:
    """What failed holds no answer to lose: it is asked for with the new prompt, the others are named."""
    config = {"faults": [{"match": "row 000001", "first": 1, "answer": "refusal"}]}
    with simulated(tmp_path, rows=4, config=config) as job:
        assert job.submit_here().failed == 1
        job.edit(prompt=EDITED)
        with pytest.raises(ChangedRowsError, match=r"^3 finished rows"):
            job.submit_here()
        summary = job.submit_here(keep_changed=True)
        assert (summary.failed, summary.stale) == (1, 3)  # refused again
        assert [call.prompt for call in job.calls()[4:]] == ["row 000001: please answer Be brief."]


def test_kept_answers_are_asked_about_again_after_another_edit(tmp_path: Path) -> None:
    """The choice was made for one edit; taking both back shows the first answers as what they are."""
    with simulated(tmp_path, rows=4) as job:
        original = job.job.read_text()
        job.submit_here()
        job.edit(prompt=EDITED)
        job.submit_here(keep_changed=True)
        job.edit(prompt=AGAIN)
        with pytest.raises(ChangedRowsError, match=r"^4 finished rows"):
            job.submit_here()
        assert job.submit_here(keep_changed=True).stale == 4
        job.edit(prompt=EDITED)
        assert job.submit_here().stale == 4
        job.job.write_text(original)
        assert job.submit_here().stale == 0
        assert len(job.calls()) == 4


def test_gc_between_two_edits_drops_only_what_no_row_stands_for(tmp_path: Path) -> None:
    """Kept answers stay; those of an edit that was given up are asked for again when it comes back."""
    with simulated(tmp_path, rows=4) as job:
        original = job.job.read_text()
        job.submit_here()
        job.edit(prompt=EDITED)
        job.submit_here(rerun_changed=True)
        collect(load_job(job.job, env={}, cwd=job.folder))
        assert job.submit_here().ok == 4
        assert len(job.calls()) == 8
        job.job.write_text(original)
        with pytest.raises(ChangedRowsError, match=r"^4 finished rows"):
            job.submit_here()
        assert job.submit_here(keep_changed=True).stale == 4
        collect(load_job(job.job, env={}, cwd=job.folder))
        assert job.submit_here().stale == 4
        assert len(job.calls()) == 8


def test_a_plan_says_when_edits_of_job_and_rows_would_leave_answers_behind(tmp_path: Path) -> None:
    """Without ids nothing tells which rows were answered: plan says it, and submit stops."""
    with simulated(tmp_path, rows=3, input={"path": "rows.jsonl"}) as job:
        job.submit_here()
        job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }}!"}]})
        lines = [json.loads(line) for line in job.rows.read_text(encoding="utf-8").splitlines()]
        job.rows.write_text(
            "".join(json.dumps({**line, "more": 1}) + "\n" for line in lines), encoding="utf-8"
        )
        planned = batchrun("plan", str(job.job))
        stopped = job.submit()

    assert "3 answers would be left behind, and 3 rows asked as new" in " ".join(planned.out.split())
    assert stopped.code == 6
    assert "--rerun-changed" in stopped.err


def test_an_answer_that_had_no_row_before_is_not_left_behind(tmp_path: Path) -> None:
    """A row was edited long ago: its older answer does not stand in the way of an edit and a new row."""
    with simulated(tmp_path, rows=5, input={"path": "rows.jsonl"}) as job:
        job.submit_here()
        lines = job.rows.read_text(encoding="utf-8").splitlines(keepends=True)
        lines[3] = lines[3].replace("please answer", "please reply")
        job.rows.write_text("".join(lines), encoding="utf-8")
        assert job.submit_here().submit["calls"] == 1
        job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }}!"}]})
        job.rows.write_text("".join([*lines, lines[0].replace("000000", "000005")]), encoding="utf-8")
        summary = job.submit_here(keep_changed=True)

    assert (summary.submit["calls"], summary.stale) == (1, 5)


def exported(job: JobFolder) -> list[dict[str, object]]:
    """What `export` writes, by line."""
    done = batchrun("export", str(job.run), "--format", "jsonl")
    assert done.code == 0
    return [json.loads(line) for line in done.out.splitlines()]


def test_a_rerun_that_was_refused_at_once_leaves_the_older_answers_in_the_results(tmp_path: Path) -> None:
    """They wait for their replacements, marked stale: pending, neither lost nor taken for new ones."""
    faults = [{"match": "row 000000: please answer Be brief", "first": 1, "status": 401}]
    with simulated(tmp_path, rows=4, config={"faults": faults}) as job:
        job.edit(endpoints=in_flight(job))
        job.submit_here()
        before = job.results()
        job.edit(prompt=EDITED)
        refused = job.submit_here(rerun_changed=True)
        assert (refused.exit_code, refused.ok, refused.failed, refused.pending) == (4, 0, 0, 4)
        assert refused.cut == 0
        assert job.results().equals(before.with_columns(stale=pl.lit(value=True)))
        assert [row["completion"] for row in exported(job)] == before["completion"].to_list()
        replaced = job.submit_here(rerun_changed=True)
        assert (replaced.ok, replaced.pending) == (4, 0)
        assert not job.results()["stale"].any()


def test_a_rerun_of_some_rows_leaves_the_others_their_older_answers(tmp_path: Path) -> None:
    """A limit says how many are replaced now."""
    with simulated(tmp_path, rows=4) as job:
        job.submit_here()
        job.edit(prompt=EDITED)
        summary = job.submit_here(rerun_changed=True, limit=1)
        assert (summary.ok, summary.failed, summary.pending) == (1, 0, 3)
        assert job.results()["stale"].to_list() == [False, True, True, True]
        assert see(RunFolder(job.run)).since.is_empty()


def test_what_is_kept_is_forgotten_with_its_replacement_and_no_sooner(tmp_path: Path) -> None:
    """A rerun that comes to one row only leaves the others as the user had them."""
    with simulated(tmp_path, rows=4) as job:
        job.submit_here()
        job.edit(prompt=EDITED)
        job.submit_here(keep_changed=True)
        summary = job.submit_here(rerun_changed=True, limit=1)
        assert (summary.ok, summary.stale, summary.pending) == (1, 0, 3)
        assert job.results()["stale"].to_list() == [False, True, True, True]
        assert len(read_kept(job.checkpoint)) == 3
        kept = job.submit_here()
        assert (kept.ok, kept.stale, kept.pending) == (4, 3, 0)
        assert len(job.calls()) == 5


@pytest.mark.long
def test_a_refused_submit_hides_no_answer_of_a_killed_run(tmp_path: Path) -> None:
    """What was not published yet stays readable, marked stale, whatever the user chooses afterwards."""
    latency = {"kind": "constant", "seconds": 0.05}
    with simulated(tmp_path, rows=24, config={"latency": latency}) as job:
        job.edit(endpoints=in_flight(job, 4))
        kill(job, 14)
        before = exported(job)
        assert len(before) >= 8
        job.edit(prompt=EDITED)
        with pytest.raises(ChangedRowsError):
            job.submit_here()
        assert exported(job) == [{**row, "stale": True} for row in before]
        index = (job.checkpoint / "index.parquet").stat().st_ino
        kill_rerun(job, 6)
        assert (job.checkpoint / "index.parquet").stat().st_ino == index, "the input is not read again"
        after = scan_run(RunFolder(job.run)).collect()
        older = after.filter("stale")
        assert after["row_id"].n_unique() == len(after) > len(older)
        assert {row["row_id"] for row in before} <= set(after["row_id"])
        assert set(older["completion"]) <= {row["completion"] for row in before}
        assert job.submit_here(rerun_changed=True).ok == 24
        assert not job.results()["stale"].any()


def in_flight(job: JobFolder, calls: int = 1) -> dict[str, object]:
    """The job's endpoints with so many calls in flight."""
    endpoint = json.loads(job.job.read_text())["endpoints"]["local"]
    return {"local": {**endpoint, "limits": {"concurrency": calls}}}


def kill_rerun(job: JobFolder, calls: int) -> None:
    """The same as `kill`, of a submit that asks changed rows again, once so many more calls have come."""
    wanted = len(job.calls()) + calls
    command = job.command("--rerun-changed")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(job.calls()) < wanted:
        time.sleep(0.005)
    process.kill()
    process.wait()


def test_a_refused_submit_leaves_the_types_of_the_results(tmp_path: Path) -> None:
    """Readers show the answers by the schema that they were asked with, not by one that was never used."""
    request = {"max_completion_tokens": 300}
    with simulated(tmp_path, rows=3, schema=SCHEMA, request=request) as job:
        assert job.submit_here().ok == 3
        types = (job.checkpoint / "types.arrow").read_bytes()
        shown = scan_run(RunFolder(job.run)).collect()
        job.edit(schema={"type": "object", "properties": {"mood": {"type": "string"}}})
        with pytest.raises(ChangedRowsError):
            job.submit_here()
    assert (job.checkpoint / "types.arrow").read_bytes() == types
    assert scan_run(RunFolder(job.run)).collect().equals(shown)
