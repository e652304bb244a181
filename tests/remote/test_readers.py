"""Runs in object storage, read and changed by every verb, from machines that have no copy of them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import batchrun
from batchrun.errors import InputError, ObjectStorageError, RunFolderError, UsageError
from batchrun.remote.manifest import KEY
from batchrun.run_folder.lock import locked
from batchrun.storage import Address, open_store
from tests.commands import Ended as Command
from tests.commands import batchrun as command
from tests.remote.copies import at_work, copy_of
from tests.remote.runs import Ended, Remote, remote_job, wait_for
from tests.remote.server import Between

SLOW = {"latency": {"kind": "constant", "seconds": 0.3}}
SLOWER = {"latency": {"kind": "constant", "seconds": 1.0}}
"""Still under way while commands are started beside it, also on a busy machine."""


def verb(work: Remote, *arguments: str, machine: str = "reader") -> Command:
    """A command on a machine of its own."""
    return command(*arguments, env={"XDG_STATE_HOME": str(work.job.folder / machine)})


def told(work: Remote, *arguments: str, machine: str = "reader") -> Any:
    """What a command prints as JSON."""
    ended = verb(work, *arguments, "--json", machine=machine)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_every_verb_reads_a_run_by_its_address_and_by_its_job(tmp_path: Path, bucket: Address) -> None:
    """Also a place whose name holds what URLs escape."""
    with remote_job(tmp_path, bucket, rows=40) as work:
        place = bucket.below("runs/x y%20z/job")
        work.job.edit(output={"path": str(place)})
        work.job.submit_here()
        for named in (str(place), str(work.job.job)):
            status = told(work, "status", named)
            assert (status["state"], status["ok"], status["pending"]) == ("finished", 40, 0)
            assert status["run_folder"] == str(place)
            assert len(verb(work, "show", named, "--json").out.splitlines()) == 40
            exported = verb(work, "export", named, "--format", "csv", "--columns", "row_id")
            assert len(exported.out.splitlines()) == 41
            page = tmp_path / "page.html"
            assert verb(work, "report", named, "--out", str(page)).code == 0
            assert "40" in page.read_text()
            assert batchrun.scan_results(named).select("n").collect().height == 40
        assert verb(work, "status", str(place)).out.startswith("job: finished")


@pytest.mark.parametrize("words", [["cancel", "--yes"], ["cancel"], ["gc", "--yes"], ["gc"], ["reparse"]])
def test_a_run_that_is_not_there_is_told_by_verbs_that_would_change_it(
    tmp_path: Path, bucket: Address, words: list[str]
) -> None:
    """Nothing is written: another job may begin at that place."""
    with remote_job(tmp_path, bucket, rows=2) as work:
        ended = verb(work, words[0], str(work.job.job), *words[1:], machine="another")
        assert ended.code == 2
        assert [line for line in ended.err.splitlines() if "there is no run in s3://" not in line] == [
            "  Start one with `batchrun submit JOB.yaml`, whose output.path names it."
        ]
        assert list(work.store.listing()) == []
        assert not (tmp_path / "another").exists()


def test_a_run_that_was_uploaded_nowhere_yet_is_there_on_its_machine(tmp_path: Path, bucket: Address) -> None:
    """Its submit was killed before, or the bucket was emptied: what it left with providers can be ended."""
    with remote_job(tmp_path, bucket, rows=2) as work:
        work.job.submit_here()
        work.store.remove([item.key for item in work.store.listing()])
        assert command("cancel", str(work.job.job), "--yes").code == 0
        assert work.manifest().files


def test_a_run_that_another_machine_has_just_begun_is_locked(tmp_path: Path, bucket: Address) -> None:
    """It has uploaded nothing yet, and will."""
    with remote_job(tmp_path, bucket, rows=2) as work, at_work(copy_of(bucket, tmp_path / "a")):
        assert work.manifest().is_empty
        ended = verb(work, "cancel", str(work.job.job), "--yes")
        assert (ended.code, "another submit is running" in ended.err) == (5, True), ended.err


@pytest.mark.long
def test_a_status_fetches_nothing_large(tmp_path: Path, bucket: Address) -> None:
    """A run that has ended well, or runs elsewhere, is told by three small objects."""
    with remote_job(tmp_path, bucket, rows=500, config=SLOWER) as work:
        process = work.machine("a").start(lease=30.0)
        wait_for(lambda: (work.store.read("lease.json") or b"").find(b'"in_flight"') > 0)
        running = told(work, "status", str(work.place))
        assert (running["state"], running["rows"]) == ("running", 500)
        assert running["live"]["to_do"] == 500
        assert running["host"]
        assert f"running on {running['host']}" in verb(work, "status", str(work.place)).out
        assert Ended.of(process).code == 0
        ended = told(work, "status", str(work.place))
        assert (ended["state"], ended["ok"], ended["host"]) == ("finished", 500, None)
        assert not (tmp_path / "reader").exists()


@pytest.mark.long
def test_a_killed_run_is_read_as_far_as_it_was_uploaded(tmp_path: Path, bucket: Address) -> None:
    """Rows that were not published, too; once the lease has run out, it counts as killed."""
    with remote_job(tmp_path, bucket, rows=300, config=SLOWER) as work:
        process = work.machine("a").start(lease=1.0)
        wait_for(lambda: not work.manifest().is_empty if work.store.read(KEY) else False)
        wait_for(lambda: work.manifest().told.get("rows", 0) >= 32)
        process.kill()
        Ended.of(process)
        rows = work.results()
        assert 32 <= rows.height < 300
        wait_for(lambda: told(work, "status", str(work.place))["state"] == "killed")
        assert told(work, "status", str(work.place))["ok"] == rows.height


@pytest.mark.long
def test_a_run_that_was_cut_off_after_it_had_ended_well_once_counts_as_killed(
    tmp_path: Path, bucket: Address
) -> None:
    """On the machine that has received more, and was killed before it could upload any of it."""
    with remote_job(tmp_path, bucket, rows=200, config=SLOW) as work:
        machine, limited = work.machine("a"), {"path": "rows.jsonl", "id": "id", "limit": 10}
        work.job.edit(input=limited)
        assert machine.submit().rows == (10, 0, 0)
        work.job.edit(input={"path": "rows.jsonl", "id": "id"})
        process = machine.start(interval=60.0, lease=0.5)
        wait_for(lambda: len(work.job.calls()) > 50)
        process.kill()
        Ended.of(process)
        time.sleep(0.6)
        status = told(work, "status", str(work.place), machine="a")
        assert (status["state"], status["rows"]) == ("killed", 200)
        assert status["ok"] > 10


@pytest.mark.long
def test_a_pause_is_for_the_machine_that_is_at_work(tmp_path: Path, bucket: Address) -> None:
    """There it works as ever; elsewhere it says where to go."""
    with remote_job(tmp_path, bucket, rows=900, config=SLOWER) as work:
        process = work.machine("a").start()
        wait_for(lambda: len(work.job.calls()) > 0)
        refused = verb(work, "pause", str(work.job.job))
        assert refused.code == 2
        assert "no submit of this machine is running on s3://" in refused.err
        assert told(work, "pause", str(work.job.job), machine="a")["paused"]
        assert not told(work, "resume", str(work.job.job), machine="a")["paused"]
        process.terminate()
        assert Ended.of(process).code == 143


def test_gc_drops_answers_everywhere(tmp_path: Path, bucket: Address) -> None:
    """On a machine that had no copy; the objects that nothing needs any more are gone."""
    with remote_job(tmp_path, bucket, rows=100) as work:
        work.job.submit_here()
        work.job.edit(input={"path": "rows.jsonl", "id": "id", "limit": 50})
        work.job.submit_here()
        looked = verb(work, "gc", str(work.job.job))
        assert "would drop 50 answers" in looked.out, looked.err
        done = verb(work, "gc", str(work.job.job), "--yes", machine="other")
        assert "dropped 50 answers, kept 50" in done.out, done.err
        assert work.results().height == 50
        there = {item.key for item in work.store.listing()}
        assert there == {*work.manifest().keys(), KEY, "lease.json"}
        assert work.machine("third").submit().rows == (50, 0, 0)
        assert len(work.job.calls()) == 100


def test_reparse_reads_stored_answers_without_a_call(tmp_path: Path, bucket: Address) -> None:
    """On a machine that had no copy of them."""
    schema = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}, "required": ["label"]}
    with remote_job(tmp_path, bucket, rows=20, schema=schema) as work:
        work.job.submit_here()
        calls = len(work.job.calls())
        edited = {**schema, "properties": {"label": {"enum": ["a", "b", "c"]}}}
        work.job.edit(schema=edited)
        found = told(work, "reparse", str(work.job.job))
        assert found["reread"] == 20
        assert len(work.job.calls()) == calls
        assert work.machine("third").submit().rows == (20, 0, 0)
        assert len(work.job.calls()) == calls


def test_a_job_goes_on_from_a_run_in_object_storage(tmp_path: Path, bucket: Address) -> None:
    """`input.run` takes its address; a run of its own it refuses."""
    with remote_job(tmp_path, bucket, rows=30) as work:
        work.job.submit_here()
        second = {"input": {"run": str(work.place)}, "output": {}, "name": "second"}
        work.job.edit(
            **second, prompt={"messages": [{"role": "user", "content": "{{ previous.completion }}"}]}
        )
        summary = work.job.submit_here()
        assert (summary.exit_code, summary.ok) == (0, 30)
        work.job.edit(name="job", output={"path": str(work.place)})
        with pytest.raises(InputError, match="is this job's own run"):
            work.job.submit_here()


def test_a_frame_is_an_input_too(tmp_path: Path, bucket: Address) -> None:
    """And is not taken for another one when it is given again."""
    frame = pl.DataFrame({"id": ["a", "b"], "text": ["row 1: x", "row 2: y"]})
    with remote_job(tmp_path, bucket, rows=1) as work:
        for _ in range(2):
            summary = batchrun.submit(work.job.job, frame, show=False)
            assert (summary.ok, summary.run_folder) == (2, str(work.place))
        assert len(work.job.calls()) == 2


def test_a_changed_object_is_found_out(tmp_path: Path, bucket: Address) -> None:
    """Its digest is in the manifest."""
    with remote_job(tmp_path, bucket, rows=20) as work:
        work.job.submit_here()
        entry = work.manifest().files["job.yaml"]
        work.store.write(entry.pieces[0][0], b"x" * entry.size)
        ended = verb(work, "show", str(work.place))
        assert ended.code == 2
        assert "job.yaml is not what was uploaded" in ended.err


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format": 1, "epoch": 1}', b'{"format": 99}', b"[1]"])
def test_a_damaged_manifest_is_named(tmp_path: Path, bucket: Address, data: bytes) -> None:
    """Nothing is written over it."""
    with remote_job(tmp_path, bucket, rows=3) as work:
        work.store.write(KEY, data)
        with pytest.raises(RunFolderError, match=r"manifest\.json") as caught:
            work.job.submit_here()
        assert caught.value.hint
        assert work.store.read(KEY) == data


def test_places_that_cannot_be_used_are_refused(tmp_path: Path, bucket: Address) -> None:
    """Before anything is sent: another job's, one that holds something else, one that is not there."""
    with remote_job(tmp_path, bucket, rows=3) as work:
        work.job.submit_here()
        work.job.edit(name="another")
        with pytest.raises(RunFolderError, match="holds the run of another job, 'job'"):
            work.job.submit_here()
        work.job.edit(output={"path": f"{bucket}/runs"})
        with pytest.raises(RunFolderError, match="is not empty and holds no run of batchrun"):
            work.job.submit_here()
        work.job.edit(output={"path": "s3://no-such-bucket-here/runs/x"})
        with pytest.raises(ObjectStorageError, match="there is no such bucket"):
            work.job.submit_here()
        with pytest.raises(RunFolderError, match="there is no run in s3://"):
            batchrun.scan_results(f"{bucket}/nothing/here")
        with pytest.raises(UsageError, match="no address in object storage"):
            batchrun.scan_results("ftp://somewhere/else")
        assert len(work.job.calls()) == 3


def test_a_run_whose_objects_were_removed_is_uploaded_again(tmp_path: Path, bucket: Address) -> None:
    """The machine that has a copy has all of it: nothing is paid for again."""
    with remote_job(tmp_path, bucket, rows=20) as work:
        work.job.submit_here()
        work.store.remove([item.key for item in work.store.listing()])
        work.job.submit_here()
        assert len(work.job.calls()) == 20
        assert work.results().height == 20


def test_the_local_copy_lies_where_the_job_says(tmp_path: Path, bucket: Address) -> None:
    """`output.local_path`: a disk with room for it."""
    with remote_job(tmp_path, bucket, rows=3, output={"local_path": "work"}) as work:
        work.job.submit_here()
        assert len(list(tmp_path.glob("work/job-*/job/checkpoint"))) == 1
        assert not (Path(os.environ["XDG_STATE_HOME"]) / "batchrun").exists()
        assert open_store(work.place).read(KEY)


def test_local_copies_in_one_folder_do_not_meet(tmp_path: Path, bucket: Address) -> None:
    """Two jobs with one `output.local_path`: neither locks the other out, or forgets what it had uploaded."""
    with remote_job(tmp_path, bucket, rows=3, output={"local_path": "work"}) as work:
        first = {"path": str(work.place), "local_path": "work"}
        other = {"path": str(bucket.below("other/job")), "local_path": "work"}
        for output in (first, other, first, other):
            work.job.edit(output=output)
            assert work.job.submit_here().ok == 3
        assert len(work.job.calls()) == 6
        copies = sorted(tmp_path.glob("work/job-*"))
        assert len(copies) == 2
        with locked(copies[0] / "lock"), locked(copies[1] / "lock"):  # each has one of its own
            pass


@pytest.mark.parametrize("header", ["if-match", "if-none-match"])
def test_a_store_that_ignores_conditions_is_refused(
    tmp_path: Path, bucket: Address, faulty: Between, header: str
) -> None:
    """Two submits could both hold its lease: nothing is sent."""
    faulty.hidden = frozenset({header})
    with remote_job(tmp_path, bucket, rows=3) as work:
        with pytest.raises(RunFolderError, match="writes whose conditions"):
            work.job.submit_here()
        assert not work.job.ledger.exists() or not work.job.calls()


@pytest.mark.long
def test_a_plan_knows_what_other_machines_have_done(tmp_path: Path, bucket: Address) -> None:
    """Also where there is no copy yet; while a submit is at work elsewhere, it says so."""
    with remote_job(tmp_path, bucket, rows=500, config=SLOW) as work:
        assert told(work, "plan", str(work.job.job))["rows"]["new"] == 500
        ended = verb(work, "submit", str(work.job.job), "--limit", "40", machine="a")
        assert ended.code == 0, ended.err
        planned = told(work, "plan", str(work.job.job), machine="b")
        assert (planned["rows"]["ok"], planned["to_do"], planned["run_folder"]) == (40, 460, str(work.place))
        exported = verb(work, "export", str(work.job.job), "--format", "chat", machine="c")
        assert len(exported.out.splitlines()) == 40
        process = work.machine("a").start()
        wait_for(lambda: len(work.job.calls()) > 80)
        running = verb(work, "plan", str(work.job.job), "--json", machine="b")
        assert json.loads(running.out)["running"]
        process.terminate()
        assert Ended.of(process).code == 143


def test_batches_are_told_and_cancelled_from_any_machine(tmp_path: Path, bucket: Address) -> None:
    """By the records that lie there; the provider is asked where the job file is at hand."""
    engine = {"kind": "provider_batch", "max_lines": 20}
    slow = {"batches": {"seconds": 600}}
    with remote_job(tmp_path, bucket, rows=30, config=slow, engine=engine) as work:
        work.job.submit_here(wait=False)
        by_address = told(work, "status", str(work.place))
        by_job = told(work, "status", str(work.job.job))
        ended = told(work, "cancel", str(work.job.job), "--yes", machine="another")
        after = told(work, "status", str(work.place))
    assert (by_address["state"], by_job["state"]) == ("waiting", "waiting")
    assert [(one["rows"], one["asked"]) for one in by_address["batches"]] == [(20, False), (10, False)]
    assert [(one["status"], one["asked"]) for one in by_job["batches"]] == [("in_progress", True)] * 2
    assert [one["came"] for one in ended["batches"]] == ["cancelled", "cancelled"]
    assert {one["status"] for one in after["batches"]} <= {"cancelling", "cancelled"}
