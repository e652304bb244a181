"""Kill a submit with SIGKILL again and again, resume it, and count what that cost.

The truth is the simulator's ledger, and a copy of the checkpoint taken after each kill.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from batchrun.outcome import Reply
from batchrun.run_folder.checkpoint import read_checkpoint
from batchrun.run_folder.sealed import histories, sealed_parts
from batchrun.simulator import SimulatorConfig, start_process
from batchrun.simulator.config import UniformLatency
from tests.reliability.table import Line
from tests.runs import JobFolder, asked, write_rows

CONCURRENCY = 32


@dataclass(slots=True)
class Tally:
    """What a series of kills did, by ledger and checkpoint."""

    rows: int
    kills: int = 0
    calls: int = 0
    in_flight: list[int] = field(default_factory=list)
    """Calls without an answer in the checkpoint, at each kill."""
    answers_at_kill: list[int] = field(default_factory=list)
    asked_again: int = 0
    """Calls for a row whose answer an earlier checkpoint held."""
    lost: int = 0
    """Rows with an answer in a checkpoint and none in the results."""
    duplicated: int = 0
    seconds: float = 0.0

    @property
    def extra(self) -> int:
        """Calls more than rows."""
        return self.calls - self.rows


@dataclass(frozen=True, slots=True)
class _Held:
    at: float
    rows: frozenset[int]


def kill_and_resume(folder: Path, *, rows: int, kills: int) -> Tally:
    """Run a job of `rows` rows, killed at `kills` moments spread between its first and last call."""
    job = JobFolder(folder)
    write_rows(job.rows, rows)
    tally = Tally(rows)
    started = time.monotonic()
    config = SimulatorConfig(latency=UniformLatency(kind="uniform", low=0.01, high=0.06))
    with start_process(config, ledger=job.ledger) as base_url:
        job.write(
            base_url, endpoints={"local": {"base_url": base_url, "limits": {"concurrency": CONCURRENCY}}}
        )
        held = [_killed(job, rows * (n + 1) // (kills + 1), tally) for n in range(kills)]
        finished = job.submit(timeout=600)
        assert finished.returncode == 0, finished.stderr
    tally.seconds = time.monotonic() - started
    _count(job, held, tally)
    return tally


def _killed(job: JobFolder, after: int, tally: Tally) -> _Held:
    """Submit, and kill once the simulator has received `after` calls in all."""
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while _received(job) < after and process.poll() is None:
        time.sleep(0.002)
    assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    at = time.time()
    copy = job.folder / f"checkpoint-{tally.kills:03d}"
    shutil.copytree(job.checkpoint, copy)
    answered, open_calls = _held(copy)
    tally.kills += 1
    tally.in_flight.append(open_calls)
    tally.answers_at_kill.append(len(answered))
    return _Held(at, answered)


def _received(job: JobFolder) -> int:
    """Calls in the ledger, by its size: about 500 bytes a call; exact enough to spread kills."""
    with job.ledger.open("rb") as file:
        return sum(line.count(b'"event":"call"') for line in file)


def _held(checkpoint: Path) -> tuple[frozenset[int], int]:
    """The rows that a checkpoint holds an answer for, and its calls without one."""
    found = read_checkpoint(checkpoint)
    tasks = [*found.unfinished.values()]
    for finished in found.unsealed.values():
        tasks += finished
    for path in sealed_parts(checkpoint).values():
        import pyarrow.parquet as pq

        tasks += histories(pq.read_table(path))
    rows = frozenset(
        next(iter(task.sent.values())).row
        for task in tasks
        if any(isinstance(a.exchange, Reply) and a.exchange.status == 200 for a in task.answered.values())
    )
    return rows, found.possibly_paid()


def _count(job: JobFolder, held: list[_Held], tally: Tally) -> None:
    calls = job.calls()
    tally.calls = len(calls)
    for row, of_row in asked(calls).items():
        first = min((kept.at for kept in held if row in kept.rows), default=float("inf"))
        tally.asked_again += sum(call.at > first for call in of_row)
    results = job.results()
    answered = results.filter(results["status"] == "ok")["row_index"].to_list()
    tally.duplicated = len(results) - results["row_index"].n_unique()
    every = frozenset().union(*(kept.rows for kept in held))
    tally.lost = len(every - set(answered))


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """SIGKILL at moments spread over one run."""
    seen = kill_and_resume(folder, rows=5_000 if full else 600, kills=20 if full else 5)
    yield Line(
        "kill -9 spread over a run",
        f"{seen.kills} kills, {seen.rows:,} rows",
        held=not (seen.lost or seen.duplicated or seen.asked_again) and seen.extra <= sum(seen.in_flight),
        lost=seen.lost,
        duplicated=seen.duplicated,
        repaid=seen.asked_again,
        note=f"{seen.extra} calls more than rows, {sum(seen.in_flight)} in flight at the kills",
    )
