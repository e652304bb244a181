"""A server with a sliding window of 60 s, and a client killed in the middle of it."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.runs import JobFolder, simulated


@dataclass(frozen=True, slots=True)
class Paced:
    """What the server saw."""

    calls: int
    refused: int
    """Calls over the limit by the server's own window."""
    most_in_a_minute: int


def kill_within_the_window(folder: Path, *, rpm: int, seconds: float) -> Paced:
    """Send a good part of a minute's share, kill, resume at once, and go on for `seconds`."""
    config = {"limits": {"rpm": rpm}}
    endpoints = {"local": {"limits": {"concurrency": 8, "rpm": rpm}}}
    with simulated(folder, rows=rpm * 3, config=config, endpoints=endpoints) as job:
        _run_for(job, seconds / 2)
        _run_for(job, seconds / 2)
        calls = job.calls()
    times = sorted(call.at for call in calls)
    most = max(sum(start <= at < start + 60 for at in times) for start in times)
    refused = sum(call.answer is not None and call.answer.status == 429 for call in calls)
    return Paced(len(calls), refused, most)


def _run_for(job: JobFolder, seconds: float) -> None:
    """Submit, and kill after `seconds`."""
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.kill()
    process.wait()
