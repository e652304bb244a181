"""A job against an endpoint of which every fifth call goes wrong, and what the ledger says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batchrun.simulator import Call, SimulatorConfig
from tests.reliability.table import Line
from tests.runs import JobFolder, run_batchrun, write_rows
from tests.simulators import start_simulator

FAULTS = [
    {"rate": 0.03, "status": 429, "retry_after": 1},
    {"rate": 0.05, "status": 500},
    {"rate": 0.04, "reset": "mid_body"},
    {"rate": 0.02, "reset": "before_headers"},
    {"rate": 0.02, "stall": 3},
    {"rate": 0.04, "answer": "malformed"},
]
"""Together 20% of all calls; the stall is longer than the idle timeout of the job."""

RETRY = {
    "max_attempts": 8,
    "backoff": {"initial": 0.05, "max": 1},
    "timeout": {"connect": 2, "idle": 1, "total": 10, "row": 300},
}

CROSSING = 0.15
"""Seconds within which a call may have been on its way while the 429 came back."""


@dataclass(frozen=True, slots=True)
class Weathered:
    """What became of the job."""

    rows: int
    lost: int
    """Rows that the results do not hold."""
    duplicated: int
    """Rows that they hold more than once."""
    ok: int
    failed: int
    calls: int
    faulty: int
    """Calls that a fault struck."""
    too_early: int
    """Calls begun between the delivery of a Retry-After and its end."""
    exit_code: int

    @property
    def held(self) -> bool:
        """Every row has its answer, once: eight attempts are enough for each."""
        kept = self.ok == self.rows and not (self.lost or self.duplicated or self.too_early)
        return kept and self.exit_code == 0


def weather(folder: Path, *, rows: int) -> Weathered:
    """Run a job of `rows` rows through FAULTS."""
    job = JobFolder(folder)
    write_rows(job.rows, rows)
    config = SimulatorConfig.model_validate(
        {"latency": {"kind": "uniform", "low": 0.005, "high": 0.05}, "faults": FAULTS}
    )
    with start_simulator(config, ledger=job.ledger) as base_url:
        job.write(base_url, retry=RETRY)
        finished = run_batchrun("submit", str(job.job), "--json", timeout=600)
    calls = job.calls()
    results = job.results()
    there = results["row_index"].unique()
    return Weathered(
        rows=rows,
        lost=len(set(range(rows)) - set(there)),
        duplicated=len(results) - len(there),
        ok=results.filter(results["status"] == "ok").height,
        failed=results.filter(results["status"] == "failed").height,
        calls=len(calls),
        faulty=sum(call.answer is not None and call.answer.fault is not None for call in calls),
        too_early=len(too_early(calls)),
        exit_code=finished.returncode,
    )


def too_early(calls: list[Call]) -> list[Call]:
    """The calls received while a Retry-After that had been delivered was still running."""
    told = [
        (answer.at, answer.at + answer.retry_after)
        for call in calls
        if (answer := call.answer) and answer.delivered and answer.retry_after
    ]
    return [call for call in calls if any(start + CROSSING < call.at < end for start, end in told)]


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """A fifth of all calls go wrong."""
    seen = weather(folder, rows=5_000 if full else 200)
    yield Line(
        "a fifth of all calls struck",
        f"{seen.faulty:,} of {seen.calls:,} calls",
        held=seen.held,
        lost=seen.lost,
        duplicated=seen.duplicated,
        note=f"{seen.ok:,} rows ok, {seen.failed} failed, exit code {seen.exit_code}; {seen.too_early} calls "
        "before a Retry-After had passed",
    )
