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


def kill_within_the_window(folder: Path, *, rpm: int, calls: int) -> Paced:
    """Kill a submit after half of `calls`, resume at once, and kill it again after the rest."""
    config = {"limits": {"rpm": rpm}}
    endpoints = {"local": {"limits": {"concurrency": 8, "rpm": rpm}}}
    with simulated(folder, rows=rpm * 3, config=config, endpoints=endpoints) as job:
        _kill_after(job, calls // 2)
        _kill_after(job, calls)
        seen = job.calls()
    times = sorted(call.at for call in seen)
    most = max(sum(start <= at < start + 60 for at in times) for start in times)
    refused = sum(call.answer is not None and call.answer.status == 429 for call in seen)
    return Paced(len(seen), refused, most)


def _kill_after(job: JobFolder, calls: int) -> None:
    """Submit, and kill once the server has seen `calls` in all."""
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(job.calls()) < calls and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
