"""`pause` and `resume`: a run that is going is told from another shell to send nothing for a while."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from batchrun.clock import PausableClock
from tests.clock import VirtualClock, run_virtual
from tests.commands import batchrun
from tests.runs import JobFolder, simulated

SLOW = {"latency": {"kind": "constant", "seconds": 0.1}}

Running: TypeAlias = tuple[JobFolder, subprocess.Popen[bytes]]


@contextmanager
def submitting(
    folder: Path, *, rows: int = 120, **sections: Any
) -> Iterator[tuple[JobFolder, subprocess.Popen[bytes]]]:
    """A submit that takes a second for 40 rows, four at a time, once it has made some calls."""
    with simulated(folder, rows=rows, config=SLOW, **sections) as job:
        job.edit(endpoints={"local": {**job.endpoint(), "limits": {"concurrency": 4}}})
        process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: job.ledger.exists() and len(job.calls()) >= 8)
            yield job, process
        finally:
            process.kill()
            process.wait()


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Return once it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.02)


def status(job: JobFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(batchrun("status", str(job.job), "--json").out)
    return found


@pytest.mark.long
def test_a_paused_run_sends_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    """Calls under way land; `status` says that it is paused; then every row is asked once."""
    with submitting(tmp_path) as (job, process):
        paused = batchrun("pause", str(job.job), "--json")
        assert (paused.code, json.loads(paused.out)["paused"]) == (0, True), paused.err
        until(lambda: status(job)["live"]["in_flight"] == 0)
        before = len(job.calls())
        said = batchrun("status", str(job.job)).out
        assert "paused" in said.splitlines()[0]
        assert "batchrun resume" in said
        time.sleep(1.5)
        assert len(job.calls()) == before
        resumed = batchrun("resume", str(job.job))
        said = resumed.err  # the second, where the submit takes its time to notice
        assert resumed.code == 0
        assert "resumed" in said or "it will go on" in said, said
        assert process.wait(60) == 0
        assert len(job.calls()) == 120
        assert not (job.run / "pause").exists()
        events = [json.loads(line)["event"] for line in (job.run / "log.jsonl").read_text().splitlines()]
        assert [event for event in events if event in ("paused", "resumed")] == ["paused", "resumed"]


@pytest.mark.long
def test_a_pause_takes_nothing_of_the_time_that_rows_may_take(tmp_path: Path) -> None:
    """Rows that wait longer than `retry.timeout.row` because of it are asked all the same."""
    retry = {"timeout": {"connect": 1, "idle": 1, "total": 1, "row": 1.5}}
    with submitting(tmp_path, retry=retry) as (job, process):
        batchrun("pause", str(job.job))
        time.sleep(2.5)
        batchrun("resume", str(job.job))
        assert process.wait(60) == 0
        assert job.run_json()["ok"] == 120


@pytest.mark.long
def test_a_pause_ends_with_its_submit(tmp_path: Path) -> None:
    """A paused submit that is interrupted leaves a run that the next one goes on with."""
    with submitting(tmp_path) as (job, process):
        batchrun("pause", str(job.job))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert job.submit().code == 0
        assert len(job.calls()) == 120
        assert not (job.run / "pause").exists()
        assert not (job.checkpoint / "live.json").exists()


@pytest.mark.long
def test_a_killed_and_paused_submit_is_gone_on_with(tmp_path: Path) -> None:
    """What asked for the pause went with it."""
    with submitting(tmp_path) as (job, process):
        batchrun("pause", str(job.job))
        process.kill()
        process.wait()
        assert status(job)["state"] == "killed"
        assert job.submit().code == 0
        assert job.run_json()["ok"] == 120


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_there_must_be_a_submit_that_runs(tmp_path: Path, verb: str) -> None:
    """Else the command says so, and leaves nothing behind for the next one."""
    with simulated(tmp_path, rows=3) as job:
        assert job.submit().code == 0
        ended = batchrun(verb, str(job.job))
        assert (ended.code, f"nothing to {verb}" in ended.err) == (2, True)
        assert not (job.run / "pause").exists()


def test_what_is_not_paused_is_not_resumed(tmp_path: Path) -> None:
    """The command says so."""
    with submitting(tmp_path) as (job, _process):
        ended = batchrun("resume", str(job.job))
        assert (ended.code, "is not paused" in ended.err) == (2, True)


def test_a_running_submit_says_how_it_stands(tmp_path: Path) -> None:
    """To `status` in another shell: rows, pace, calls in flight; as JSON the same."""
    with submitting(tmp_path, rows=1_000) as (job, _process):
        until(lambda: (status(job)["live"] or {}).get("ok", 0) > 0)
        found = status(job)
        assert found["state"] == "running"
        assert found["live"]["to_do"] == 1_000
        assert 0 < found["live"]["in_flight"] <= 4
        assert "of 1,000 rows" in batchrun("status", str(job.job)).out


def test_a_paused_clock_stands_still() -> None:
    """Its monotonic time goes on from where it was paused; other clocks go on."""

    async def main() -> None:
        clock = PausableClock(VirtualClock())
        start = clock.monotonic()
        await clock.sleep(5)
        clock.pause()
        clock.pause()
        await clock.sleep(7)
        assert (clock.monotonic() - start, clock.is_paused) == (5, True)
        clock.resume()
        clock.resume()
        await clock.sleep(1)
        assert (clock.monotonic() - start, clock.is_paused) == (6, False)

    run_virtual(main)
