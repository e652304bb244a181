"""One job run again and again: in another order of completion, at another pace, killed, reordered.

The simulator's answers depend on the request and its seed alone, and each run gives every row another
silence before its answer: so the rows must be the same in every column that does not tell times, or which
call it was.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from batchrun.simulator import SimulatorConfig
from tests.reliability import life
from tests.reliability.table import Line
from tests.runs import JobFolder, write_rows
from tests.simulators import start_simulator

DIFFER = {
    "latency": "seconds",
    "ttft": "seconds",
    "started_at": "a time",
    "finished_at": "a time",
    "response_id": "the server's, another for each call",
    "attempts": "times, latencies and request ids of each call",
}
"""The columns that may differ between two runs of one job, and why."""

ROWS = 150

JOB: Mapping[str, Any] = {
    "schema": {
        "type": "object",
        "properties": {"label": {"enum": ["a", "b", "c"]}, "n": {"type": "integer"}},
        "required": ["label", "n"],
    },
    "request": {"max_completion_tokens": 60, "temperature": 0, "seed": 7},
    "output": {"messages": True},
}

KINDS: Mapping[str, Mapping[str, Any]] = {
    "64 at once": {"concurrency": 64},
    "8 at once": {"concurrency": 8},
    "one at a time": {"concurrency": 1, "slowest": 0.01},
    "order: prefix": {"concurrency": 16, "order": "prefix"},
    "dedupe": {"concurrency": 16, "dedupe": True},
    "killed and resumed": {"concurrency": 16, "killed": True},
    "two submits": {"concurrency": 16, "limit": ROWS // 3},
}


@dataclass(slots=True)
class Seen:
    """What runs of the job came to."""

    runs: int = 0
    orders: set[tuple[int, ...]] = field(default_factory=set)
    """In which orders the rows were done, by their times."""
    wrong: list[str] = field(default_factory=list)


def run(folder: Path, kind: Mapping[str, Any], *, seed: int) -> pl.DataFrame:
    """The results of one run, its latencies drawn with `seed`."""
    job = JobFolder(folder)
    folder.mkdir(parents=True)
    write_rows(job.rows, ROWS)
    with start_simulator(_simulator(seed, kind.get("slowest", 0.3)), ledger=job.ledger) as base_url:
        places = {"limits": {"concurrency": kind["concurrency"]}}
        keys = {key: kind[key] for key in ("order", "dedupe") if key in kind}
        job.write(base_url, **{**JOB, **keys, "endpoints": {"local": places}})
        if kind.get("killed"):
            _kill(job, random.Random(seed))
        if "limit" in kind:
            job.submit_here(limit=kind["limit"])
        job.submit_here()
    return job.results()


def _simulator(seed: int, slowest: float) -> SimulatorConfig:
    """The same answers for any seed, each after another silence of at most so many seconds."""
    rng = random.Random(seed)
    silences = [{"match": f"row {row:06d}:", "stall": rng.uniform(0, slowest)} for row in range(ROWS)]
    return SimulatorConfig.model_validate({"seed": 1, "faults": silences})


def _kill(job: JobFolder, rng: random.Random) -> None:
    """Kill a process a while after its first call."""
    process = life.start(life.command(job))
    while job.ledger.stat().st_size == 0 and process.poll() is None:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.4))
    process.send_signal(signal.SIGKILL)
    process.wait()


def compare(first: pl.DataFrame, other: pl.DataFrame, name: str, seen: Seen) -> None:
    """Note every column that is not the same, as it is, without sorting."""
    seen.runs += 1
    seen.orders.add(tuple(other.sort("finished_at")["row_index"].to_list()))
    if other["row_index"].to_list() != list(range(ROWS)):
        seen.wrong.append(f"{name}: not in the order of the input")
    if first.schema != other.schema:
        seen.wrong.append(f"{name}: other columns or types")
        return
    for column in first.columns:
        if column not in DIFFER and not first[column].equals(other[column], null_equal=True):
            seen.wrong.append(f"{name}: {column}")


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """50 runs where `full`, else one of each kind."""
    seen = Seen()
    names = list(KINDS)
    first = run(folder / "first", KINDS[names[0]], seed=0)
    for at in range(50 if full else len(KINDS)):
        name = names[at % len(names)]
        compare(first, run(folder / str(at), KINDS[name], seed=at + 1), name, seen)
    yield Line(
        "the same rows in every run",
        f"{seen.runs} runs of {ROWS} rows, {len(KINDS)} kinds",
        held=not seen.wrong and len(seen.orders) > seen.runs // 2,
        note=_note(seen, len(first.columns)),
    )


def _note(seen: Seen, columns: int) -> str:
    orders = f"rows done in {len(seen.orders)} different orders"
    same = f"{columns - len(DIFFER)} columns the same, {', '.join(DIFFER)} may differ"
    return "; ".join([orders, same, *seen.wrong[:6]])
