"""A submit that is told to stop: what is in flight lands, nothing new goes out, the next one continues."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from batchrun.run_folder.checkpoint.checkpoint import read_checkpoint
from tests.runs import JobFolder, simulated, write_rows
from tests.scripted import Answer, answering, completion

SLOW = {"latency": {"kind": "constant", "seconds": 1.0}}
STUCK = {"latency": {"kind": "constant", "seconds": 60.0}}


def start(job: JobFolder, *arguments: str) -> subprocess.Popen[str]:
    """Start a submit and wait until its calls are under way."""
    process = subprocess.Popen(
        job.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not job.ledger.exists() or len(job.calls()) < 1:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


@pytest.mark.long
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_lets_calls_land(tmp_path: Path, number: signal.Signals, exit_code: int) -> None:
    """After one signal no call begins, every call under way is answered, recorded and published."""
    with simulated(tmp_path, rows=400, config=SLOW) as job:
        process = start(job)
        time.sleep(1.5)
        process.send_signal(number)
        sent_at = time.time()
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == exit_code, stderr
        calls = job.calls()
        assert not [call for call in calls if call.at > sent_at + 0.3]
        assert all(call.answer and call.answer.delivered for call in calls)
        assert len(job.results()) == len(calls) < 400
        assert job.run_json()["state"] == "interrupted"
        assert "submit" in stderr
        before = len(calls)
        summary = job.submit_here(limit=40)
        assert summary.ok == before + 40
        assert len(job.calls()) == before + 40


def test_a_call_that_lands_during_the_drain_starts_no_other(tmp_path: Path) -> None:
    """A row whose model fails after the signal stays pending: its fallback is not asked any more."""
    config = {**SLOW, "faults": [{"model": "small", "status": 503}]}
    with simulated(tmp_path, rows=50, config=config, fallbacks=["local/large"]) as job:
        job.edit(retry={"max_attempts": 1})
        process = start(job)
        process.send_signal(signal.SIGINT)
        sent_at = time.time()
        process.communicate(timeout=30)
        assert process.returncode == 130
        assert not [call for call in job.calls() if call.at > sent_at + 0.3]


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """Calls under way are given up and counted as possibly paid; nothing that was received is lost."""
    with simulated(tmp_path, rows=50, config=STUCK) as job:
        process = start(job)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None, "the first signal waits for what is in flight"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert process.returncode == 130
        assert job.run_json()["possibly_paid"] == len(job.calls()) > 0


def test_the_drain_is_bounded(tmp_path: Path) -> None:
    """--drain S gives calls under way S seconds and no more."""
    with simulated(tmp_path, rows=50, config=STUCK) as job:
        process = start(job, "--drain", "1")
        process.send_signal(signal.SIGTERM)
        stopped = time.monotonic()
        process.communicate(timeout=20)
        assert process.returncode == 143
        assert 0.9 < time.monotonic() - stopped < 8


def test_what_was_learned_outlives_a_stop_that_leaves_calls_without_an_answer(tmp_path: Path) -> None:
    """The next submit starts from the limits and the concurrency of this one, and charges no call twice."""
    config = {
        "latency": {"kind": "constant", "seconds": 0.05},
        "faults": [{"match": "row 000030", "stall": 60}],
        "limits": {"rpm": 100_000, "headers": "openai"},
    }
    endpoints = {"local": {"limits": {"concurrency": "auto"}}}
    with simulated(tmp_path, rows=4_000, config=config, endpoints=endpoints) as job:
        process = start(job, "--drain", "0.2")
        while len(job.calls()) < 400:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        found = read_checkpoint(job.checkpoint)
    assert (process.returncode, len(found.unfinished) > 0, found.sent) == (130, True, [])
    endpoint, model = found.admitted["gates"]
    assert endpoint["concurrency"]["limit"] > 20
    assert [limit["limit"] for limit in model["rates"]["found"]] == [100_000]


def test_two_submits_at_once(tmp_path: Path) -> None:
    """The second submit on a folder is refused with exit 5 and does not disturb the first."""
    refused = threading.Event()

    def act(_: dict[str, Any]) -> Answer:
        assert refused.wait(60)
        return 200, completion()

    with answering(act) as (base_url, seen):
        job = JobFolder(tmp_path)
        write_rows(job.rows, 100)
        job.write(base_url)
        with subprocess.Popen(job.command(), stderr=subprocess.PIPE, text=True) as first:
            while not seen:
                time.sleep(0.02)
            second = job.submit()
            refused.set()
            _, said = first.communicate(timeout=60)
    assert second.code == 5
    assert "another submit" in second.err
    assert first.returncode == 0, said
    assert len(seen) == 100
