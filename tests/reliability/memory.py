"""Peak memory and CPU of a whole submit."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.reliability import measured
from tests.reliability.table import Line
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
        started, report = time.monotonic(), folder / "taken.json"
        command = measured.command(report, "submit", str(job.job))
        code = subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - started
    taken = measured.read(report)
    return Cost(rows, seconds, taken.cpu / rows * 1e6, taken.peak_mb, code)


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """Many rows in 300 MB."""
    seen = cost_of(folder, rows=200_000 if full else 10_000)
    yield Line(
        "memory of a submit",
        f"{seen.rows:,} rows",
        held=seen.peak_mb <= 300 and not seen.exit_code,
        note=f"peak {seen.peak_mb:.0f} MB, {seen.rows / seen.seconds:,.0f} rows/s beside the simulator, "
        f"{seen.cpu_per_row:.0f} µs CPU a row",
    )
