"""Runs that are kept in object storage: the same rows, and no machine that they hang on."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun.storage import Address
from tests.remote.runs import Ended, Remote, remote_job, wait_for
from tests.remote.server import Between
from tests.scripted import Answer, answering, completion

TIMES = ("started_at", "finished_at", "latency", "ttft", "attempts", "response_id")
"""Columns that no two runs share."""

SLOW = {"latency": {"kind": "constant", "seconds": 0.3}}


@pytest.mark.long
def test_a_run_in_object_storage_has_the_rows_of_one_on_this_machine(tmp_path: Path, bucket: Address) -> None:
    """Column by column, read by a machine that had nothing to do with it."""
    with remote_job(tmp_path, bucket, rows=300) as work:
        ended = work.machine("a").submit()
        assert (ended.code, ended.rows) == (0, (300, 0, 0)), ended.said
        remote = work.results()
        work.job.edit(output={})
        work.job.submit_here(name="local")
        local = pl.read_parquet(tmp_path / "runs/local/results/*.parquet")
        assert remote.drop(TIMES).equals(local.drop(TIMES))
        assert set(work.answered().values()) == {2}  # one each


@pytest.mark.long
def test_a_second_submit_finds_nothing_to_do_on_any_machine(tmp_path: Path, bucket: Address) -> None:
    """Neither where the copy is, nor where there is none."""
    with remote_job(tmp_path, bucket, rows=100) as work:
        for name in ("a", "a", "b"):
            ended = work.machine(name).submit()
            assert (ended.code, ended.rows) == (0, (100, 0, 0)), ended.said
        assert set(work.answered().values()) == {1}
        assert work.manifest().epoch == 3


def _killed(work: Remote, name: str, after: int) -> None:
    """A submit that is killed once so many rows have been uploaded."""
    process = work.machine(name).start()
    wait_for(lambda: _uploaded(work) >= after)
    process.kill()
    Ended.of(process)


def _uploaded(work: Remote) -> int:
    found = work.store.read("manifest.json")
    rows = re.search(rb'"rows":(\d+)', found or b"")
    return int(rows[1]) if rows else 0


@pytest.mark.long
def test_a_machine_that_is_lost_takes_only_what_was_not_uploaded(tmp_path: Path, bucket: Address) -> None:
    """Killed, its disk thrown away: another one goes on from the uploads, and says how much was lost."""
    with remote_job(tmp_path, bucket, rows=300, config=SLOW) as work:
        _killed(work, "a", after=64)
        uploaded = work.manifest().told["rows"]
        sent = len(work.job.calls())
        work.machine("a").lose_disk()
        ended = work.machine("b").submit()
        assert (ended.code, ended.rows) == (0, (300, 0, 0)), ended.said
        assert "was cut off" in ended.said
        again = [row for row, answers in work.answered().items() if answers > 1]
        assert len(again) <= sent - uploaded
        assert len(again) < 100  # of 300: what came since the last upload, and what was in flight
        said = re.search(r"what it had received, ([\d,]+) rows?", ended.said)
        if said:
            assert int(said[1].replace(",", "")) <= len(again)
        rows = work.results()
        assert rows["row_index"].to_list() == list(range(300))
        assert (rows["status"] == "ok").all()


@pytest.mark.long
def test_the_same_machine_goes_on_at_once_and_loses_nothing(tmp_path: Path, bucket: Address) -> None:
    """Its disk has what was not uploaded, and its file lock says that nobody else is at work on it."""
    with remote_job(tmp_path, bucket, rows=250, config=SLOW) as work:
        _killed(work, "a", after=100)
        ended = work.machine("a").submit(lease=600.0)  # nobody would wait that long
        assert (ended.code, ended.rows) == (0, (250, 0, 0)), ended.said
        assert "cut off" not in ended.said
        again = sum(answers - 1 for answers in work.answered().values())
        assert again <= 32  # no more than were in flight


@pytest.mark.long
def test_a_run_that_is_killed_again_and_again_gets_done(tmp_path: Path, bucket: Address) -> None:
    """Each time on a machine that knows nothing: what was uploaded is never paid for twice."""
    with remote_job(tmp_path, bucket, rows=300, config=SLOW) as work:
        kept = 0
        for number in range(3):
            _killed(work, f"machine-{number}", after=1)
            wait_for(lambda: not work.manifest().is_empty)
            kept += work.manifest().told["rows"]
            work.machine(f"machine-{number}").lose_disk()
        ended = work.machine("last").submit()
        assert (ended.code, ended.rows) == (0, (300, 0, 0)), ended.said
        answers = sum(work.answered().values())
        assert answers <= len(work.job.calls())
        assert work.results().height == 300
        assert kept > 0


@pytest.mark.long
def test_two_submits_at_once_are_one(tmp_path: Path, bucket: Address) -> None:
    """The second machine is told which one is at work."""
    refused = threading.Event()

    def act(_: dict[str, Any]) -> Answer:
        assert len(seen) < 40 or refused.wait(60)
        return 200, completion()

    with answering(act) as (base_url, seen), remote_job(tmp_path, bucket, rows=100) as work:
        work.job.edit(endpoints={"local": {"base_url": base_url, "limits": {"concurrency": 32}}})
        first = work.machine("a").start()
        wait_for(lambda: _uploaded(work) > 0)
        second = work.machine("b").submit()
        refused.set()
        assert Ended.of(first).code == 0
    assert second.code == 5
    assert "another submit is running on s3://" in second.said
    assert len(seen) == 100


@pytest.mark.long
def test_a_submit_that_slept_through_its_lease_publishes_nothing(tmp_path: Path, bucket: Address) -> None:
    """Another machine has taken the run meanwhile: the sleeper stops, and the other's state stands."""
    with remote_job(tmp_path, bucket, rows=250, config=SLOW) as work:
        sleeper = work.machine("a").start(lease=1.5)
        wait_for(lambda: _uploaded(work) >= 32)
        os.kill(sleeper.pid, signal.SIGSTOP)
        ended = work.machine("b").submit(lease=1.5)
        assert (ended.code, ended.rows) == (0, (250, 0, 0)), ended.said
        after = work.manifest()
        os.kill(sleeper.pid, signal.SIGCONT)
        slept = Ended.of(sleeper)
        assert slept.code == 5, slept.said
        assert "was taken over by a submit on" in slept.said
        assert work.manifest() == after
        assert work.results().height == 250


@pytest.mark.long
def test_what_a_lost_lease_leaves_on_its_machine_is_kept_aside(tmp_path: Path, bucket: Address) -> None:
    """It was paid for, and is not part of the run any more: its next submit there says where it is."""
    with remote_job(tmp_path, bucket, rows=300, config=SLOW) as work:
        a = work.machine("a")
        process = a.start(interval=1.0)
        wait_for(lambda: _uploaded(work) > 0)
        done = len(work.job.calls())
        wait_for(lambda: len(work.job.calls()) > done + 40)
        process.kill()
        Ended.of(process)
        ended = work.machine("b").submit()
        assert ended.code == 0, ended.said
        again = a.submit()
        assert (again.code, again.rows) == (0, (300, 0, 0)), again.said
        found = re.search(r"is kept in (\S+)", again.said)
        assert found
        assert list((Path(found[1]) / "checkpoint").glob("*.*"))


@pytest.mark.long
def test_a_drained_submit_is_whole_elsewhere(tmp_path: Path, bucket: Address) -> None:
    """SIGTERM, as a CI runner sends it: what was in flight is waited for, uploaded and given back."""
    with remote_job(tmp_path, bucket, rows=250, config=SLOW) as work:
        process = work.machine("a").start(interval=60.0)
        wait_for(lambda: len(work.job.calls()) > 64)
        process.terminate()
        ended = Ended.of(process)
        assert ended.code == 143, ended.said
        calls = len(work.job.calls())
        work.machine("a").lose_disk()
        ended = work.machine("b").submit(lease=600.0)
        assert (ended.code, ended.rows) == (0, (250, 0, 0)), ended.said
        assert len(work.job.calls()) == 250
        assert calls < 250


@pytest.mark.long
def test_uploads_that_fail_for_a_while_are_made_up_for(
    tmp_path: Path, bucket: Address, faulty: Between
) -> None:
    """Every third request to the store ends badly: nothing is lost, nothing asked twice."""
    count = iter(range(1_000_000))
    kinds = ("refused", "lost", "reset")

    def fault(_method: str, path: str):  # type: ignore[no-untyped-def] # one of `Fault`
        number = next(count)
        return kinds[number // 3 % 3] if number % 3 == 0 else None

    faulty.fault = fault
    with remote_job(tmp_path, bucket, rows=300, config=SLOW) as work:
        ended = work.machine("a").submit(lease=30.0)
        assert (ended.code, ended.rows) == (0, (300, 0, 0)), ended.said
        assert faulty.faults > 20
        assert set(work.answered().values()) == {1}
        faulty.fault = lambda _method, _path: None
        assert work.results().height == 300
