"""Peak memory and CPU of a whole submit, by the operating system's account of the process."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.runs import simulated


@dataclass(frozen=True, slots=True)
class Cost:
    """What a submit of `rows` rows took."""

    rows: int
    seconds: float
    cpu_per_row: float
    """Microseconds."""
    peak_mb: float
    exit_code: int


def cost_of(folder: Path, *, rows: int, concurrency: int = 128) -> Cost:
    """Run a job of `rows` rows without latency, faults or limits."""
    endpoints = {"local": {"limits": {"concurrency": concurrency}}}
    with simulated(folder, rows=rows, endpoints=endpoints) as job:
        started = time.monotonic()
        process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
    cpu = (used.ru_utime + used.ru_stime) / rows * 1e6
    return Cost(rows, seconds, cpu, used.ru_maxrss / 1024, process.returncode)
