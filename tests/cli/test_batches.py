"""What people see of batches that are with a provider: `status`, `cancel`, and the end of a submit."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchrun.batches.glance import look_now
from batchrun.cancelling import cancel
from batchrun.job import load_job
from batchrun.run_folder.checkpoint.batches import keep_record, read_records
from batchrun.run_folder.checkpoint.with_providers import Batch
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.lock import locked
from tests.batches.batched import batched, provider_batches
from tests.commands import Ended, batchrun
from tests.runs import JobFolder

LONG = {"seconds": 600, "validating": 0.01}
"""A batch that is not over while a test runs."""


def run(job: JobFolder, *words: str) -> Ended:
    return batchrun(*words, cwd=job.folder)


def stamps(folder: Path) -> dict[str, int]:
    """When each file below a folder was written, in nanoseconds."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def forget_id(job: JobFolder, **changed: Any) -> str:
    """Leave it open whether the first batch was created; its name."""
    (record, *_others) = read_records(job.checkpoint)
    keep_record(job.checkpoint, replace(record, batch_id="", status="", **changed))
    return record.stem


def test_status_says_how_the_batches_stand_now(tmp_path: Path) -> None:
    """As the provider says, not as the submit that handed them over has left them; nothing is written."""
    with batched(tmp_path, rows=30, engine={"max_lines": 20}) as job:
        summary = job.submit_here(wait=False)
        before = stamps(job.run)
        while {one["status"] for one in provider_batches(job)} != {"completed"}:
            time.sleep(0.02)
        found = run(job, "status", "job.yaml", "--json").json
        said = run(job, "status", "job.yaml").out
        assert stamps(job.run) == before
    assert found["state"] == "waiting"
    assert {batch["status"] for batch in summary.batches} == {"validating"}
    assert [(one["rows"], one["done"], one["status"], one["asked"]) for one in found["batches"]] == [
        (20, 20, "completed", True),
        (10, 10, "completed", True),
    ]
    first = found["batches"][0]
    assert f"{first['name']}: {first['batch_id']} completed, 20 of 20 answered, 0:0" in said
    assert "to go on    batchrun submit job.yaml" in said


@pytest.mark.parametrize(
    ("named", "change", "why"),
    [
        ("runs/job", {}, "the job file says how the provider is asked: name it"),
        ("job.yaml", {"api_key_env": "NO_SUCH_KEY"}, "the environment lacks NO_SUCH_KEY"),
        ("job.yaml", {"base_url": "http://127.0.0.1:1/v1"}, "127.0.0.1:1"),
        ("job.yaml", {"base_url": ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"]}, "several servers"),
    ],
)
def test_without_an_answer_status_says_what_was_known_last(
    tmp_path: Path, named: str, change: dict[str, Any], why: str
) -> None:
    """And that it is that, and why; a folder's own copy of the job sends no key anywhere."""
    with batched(tmp_path, rows=5, batches=LONG) as job:
        job.submit_here(wait=False)
        job.edit(endpoints={"local": {**job.endpoint(), **change}})
        found = run(job, "status", named, "--json").json
        said = run(job, "status", named).out
    (batch,) = found["batches"]
    assert (batch["asked"], batch["rows"]) == (False, 5)
    assert batch["status"]
    assert why in batch["note"]
    assert "as known last, all of them not asked now" in said


def test_a_provider_that_is_slow_does_not_keep_status(tmp_path: Path) -> None:
    """After so many seconds what was known last is told."""
    late = {**LONG, "faults": [{"on": "get", "stall": 30}]}
    with batched(tmp_path, rows=5, batches=late) as job:
        job.submit_here(wait=False)
        loaded = load_job(job.job, env=dict(os.environ), cwd=job.folder)
        batches = [Batch.of(record) for record in read_records(job.checkpoint)]
        began = time.monotonic()
        (found,) = look_now(batches, loaded, os.environ, patience=0.3)
    assert time.monotonic() - began < 5
    assert (found.asked, found.note) == (False, "no answer within 0.3 s")


def test_a_batch_that_may_not_exist_is_told_as_such(tmp_path: Path) -> None:
    """With the option that says what became of it, should the next submit ask."""
    with batched(tmp_path, rows=5, batches=LONG) as job:
        job.submit_here(wait=False)
        name = forget_id(job)
        found = run(job, "status", "job.yaml", "--json").json["batches"][0]
        said = run(job, "status", "job.yaml").out
    assert (found["name"], found["batch_id"], found["status"], found["note"]) == (name, None, None, None)
    assert f"{name}: id not known, 5 rows" in said
    assert f"--batch {name}=ID, or --batch {name}=none" in said


def test_what_submit_asks_about_a_batch_is_what_status_says_to_do(tmp_path: Path) -> None:
    """The command has the option in it."""
    with batched(tmp_path, rows=5, batches={**LONG, "listing": False}) as job:
        job.submit_here(wait=False)
        name = forget_id(job)
        ended = run(job, "submit", "job.yaml")
        said = run(job, "status", "job.yaml").out
    assert ended.code == 3, ended.err
    for text in (ended.err, said):
        assert f"then batchrun submit job.yaml --batch={name}=ID" in text


def test_cancel_says_what_it_would_end(tmp_path: Path) -> None:
    """And ends it with --yes only."""
    with batched(tmp_path, rows=30, batches=LONG, engine={"max_lines": 20}) as job:
        job.submit_here(wait=False)
        ended = run(job, "cancel", "job.yaml")
        assert {one["status"] for one in provider_batches(job)} == {"in_progress"}
    assert ended.code == 0, ended.err
    assert ended.out.startswith("job: 2 batches with 30 rows would be cancelled\n")
    assert "nothing is changed yet\n  to end them batchrun cancel job.yaml --yes\n" in ended.out


def test_cancel_ends_the_batches_and_submit_fetches_what_they_answered(tmp_path: Path) -> None:
    """What was answered is not asked again; the other rows are."""
    with batched(tmp_path, rows=40, batches={"seconds": 4, "cancelling": 0.05}) as job:
        job.submit_here(wait=False)
        while provider_batches(job)[0]["request_counts"]["completed"] < 3:
            time.sleep(0.02)
        found = run(job, "cancel", "job.yaml", "--yes", "--json").json
        said = run(job, "cancel", "job.yaml", "--yes").out
        (status,) = run(job, "status", "runs/job", "--json").json["batches"]
        job.edit(engine={"kind": "provider_batch", "poll": 0.05, "leftovers": "realtime"})
        summary = job.submit_here()
        calls = len(job.calls())
    assert (found["done"], found["exit_code"]) == (True, 0)
    assert [one["came"] for one in found["batches"]] == ["cancelled"]
    assert "to fetch    batchrun submit job.yaml" in said
    assert status["status"] in ("cancelling", "cancelled")
    assert (summary.ok, calls) == (40, 40)
    assert summary.ways["batch"]["rows"] >= 3
    assert summary.ways["realtime"]["rows"] == 40 - summary.ways["batch"]["rows"]


def test_nothing_is_cancelled_while_a_submit_is_running(tmp_path: Path) -> None:
    """It would go on with batches that end under it."""
    with batched(tmp_path, rows=5, batches=LONG) as job:
        job.submit_here(wait=False)
        with locked(RunFolder(job.run).lock):
            ended = run(job, "cancel", "job.yaml", "--yes")
        assert {one["status"] for one in provider_batches(job)} == {"in_progress"}
    assert ended.code == 5
    assert "another submit is running" in ended.err


def no_key(job: JobFolder) -> None:
    job.edit(endpoints={"local": {**job.endpoint(), "api_key_env": "NO_SUCH_KEY"}})


def another_id(job: JobFolder) -> None:
    (record,) = read_records(job.checkpoint)
    keep_record(job.checkpoint, replace(record, batch_id="batch_99999999"))


def another_model(job: JobFolder) -> None:
    job.edit(model="other/small", endpoints={"local": job.endpoint(), "other": job.endpoint()})


@pytest.mark.parametrize(
    ("change", "code", "came", "said"),
    [
        (forget_id, 0, "cancelled", "1 batch with 5 rows cancelled"),
        (lambda job: forget_id(job, name="other", file_id="file-other"), 0, "absent", "0 batches"),
        (another_id, 3, "unknown", "does not know it"),
        (another_model, 3, "refused", "no model of the job is at local now"),
        (no_key, 2, None, "no API key: the environment lacks NO_SUCH_KEY"),
    ],
    ids=["found by its stamp", "never created", "not known", "endpoint gone", "no key"],
)
def test_a_batch_that_cannot_be_ended_is_told(
    tmp_path: Path, change: Callable[[JobFolder], object], code: int, came: str | None, said: str
) -> None:
    """With what to do; one of which the id was not known is found by the name it is stamped with."""
    with batched(tmp_path, rows=5, batches=LONG) as job:
        job.submit_here(wait=False)
        change(job)
        told = run(job, "cancel", "job.yaml", "--yes")
        again = run(job, "cancel", "job.yaml", "--yes", "--json")
    assert told.code == again.code == code, told.err
    assert said in told.out + told.err
    if came is not None:
        assert again.json["batches"][0]["came"] in (came, "over")


def test_a_provider_that_does_not_cancel_is_told(tmp_path: Path) -> None:
    """The batch goes on, and it is said."""
    never = {**LONG, "faults": [{"on": "cancel", "act": "refuse", "status": 404}]}
    with batched(tmp_path, rows=5, batches=never) as job:
        job.submit_here(wait=False)
        loaded = load_job(job.job, env=dict(os.environ), cwd=job.folder)
        (ended,) = cancel(loaded, os.environ, say=lambda _text: None)
    assert (ended.came, ended.is_well) == ("refused", False)
    assert "leaves it in_progress" in str(ended.reason)


def test_a_run_without_batches_has_nothing_to_cancel(tmp_path: Path) -> None:
    """That is no error; the simulator that ends with its submit leaves none either."""
    with batched(tmp_path, rows=3) as job:
        assert job.submit_here().exit_code == 0
        ended = run(job, "cancel", "job.yaml", "--yes")
    assert (ended.code, ended.out) == (0, "job: no batch is with a provider\n")


def test_the_end_of_a_submit_that_does_not_wait(tmp_path: Path) -> None:
    """What goes on, what fetches it and what ends it; for programs and on GitHub's page, too."""
    page = tmp_path / "page.md"
    with batched(tmp_path, rows=30, batches=LONG, engine={"max_lines": 20}, canary=4) as job:
        ended = job.submit("--no-wait", env={"GITHUB_STEP_SUMMARY": str(page)})
        document = job.run_json()
    text = "2 batches go on with 26 rows: submit again fetches them; `batchrun cancel` ends them"
    assert ended.code == 0, ended.err
    assert "job: waiting for 2 batches, 26 of 30 rows pending" in ended.err
    assert text in ended.err
    assert "stopped by" not in ended.err
    assert document["state"] == "waiting"
    assert [batch["rows"] for batch in document["batches"]] == [20, 6]
    assert document["ways"] == {}
    assert "### batchrun: job waiting" in page.read_text()
    assert "2 batches go on with 26 rows" in page.read_text()


def test_the_summary_tells_what_came_which_way(tmp_path: Path) -> None:
    """How many rows, and at what cost: a batch costs half."""
    with batched(tmp_path, rows=30, canary=10) as job:
        ended = job.submit("--json")
        said = run(job, "submit", "job.yaml", "--set", "input.limit=29").err
    ways = json.loads(ended.out)["ways"]
    assert (ways["batch"]["rows"], ways["realtime"]["rows"]) == (20, 10)
    assert ways["batch"]["cost_usd"] == pytest.approx(ways["realtime"]["cost_usd"])
    assert json.loads(ended.out)["batches"] == []
    assert "nothing to do" in said


def test_what_batches_can_cost_counts_as_spent_or_held(tmp_path: Path) -> None:
    """Until they are over: then what they took."""
    budget = {"cost_usd": 50}
    with batched(tmp_path, rows=10, batches={"seconds": 1}, budget=budget) as job:
        waiting = job.submit_here(wait=False)
        finished = job.submit_here()
    assert (waiting.cost_usd, waiting.spent["requests"]) == (None, 10)
    assert waiting.spent["cost_usd"] > finished.spent["cost_usd"]
    assert finished.spent["cost_usd"] == pytest.approx(finished.cost_usd)


def test_status_of_a_run_that_is_waiting_for_batches(tmp_path: Path) -> None:
    """While the submit runs: how far they are, and no pace."""
    with batched(tmp_path, rows=10, batches=LONG) as job:
        submit = subprocess.Popen(job.command(), stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 20
            found: dict[str, Any] = {}
            while not (found.get("live") or {}).get("batches"):
                assert time.monotonic() < end
                ended = run(job, "status", "job.yaml", "--json")
                found = ended.json if ended.code == 0 else {}
            said = run(job, "status", "job.yaml").out
        finally:
            submit.kill()
            submit.wait()
    assert found["state"] == "running"
    assert "waiting for 1 batch: 0 of 10 answered, 0:0" in said
    assert "rows/s" not in said
    assert " left" not in said
