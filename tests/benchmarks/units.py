"""What one row costs a run, unit by unit: `uv run python -m tests.benchmarks units [--rows 20k]`.

Processor time of this process, so that what runs beside it does not show; bytes as they lie on disk or pass
between processes. SCALE.md says what follows from them for a thousand workers.
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import polars as pl

from batchrun.admission import Admission
from batchrun.admission.gate import CallFeedback
from batchrun.answer.in_flight import InFlightCalls
from batchrun.answer.tail import Latencies
from batchrun.budget import Amounts
from batchrun.clock import PausableClock, SystemClock
from batchrun.cluster.crew import Crew
from batchrun.cluster.messages import (
    CallFinished,
    Delivery,
    Ended,
    Freed,
    FromDriver,
    FromWorker,
    Granted,
    NoMoreShards,
    PermitRequest,
    Recorded,
    Shard,
)
from batchrun.cluster.permits import Permits
from batchrun.cluster.shards import Shards
from batchrun.engines.control import Control
from batchrun.engines.tasks import Assignment
from batchrun.job import load_job
from batchrun.limits import Limits, Size
from batchrun.outcome import Completed, Response
from batchrun.policy.breaker import Breaker
from batchrun.remote.manifest import Entry, Manifest
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.records import Answered, Done, Sent
from batchrun.submitting.journal import seal_file
from batchrun.summary import Counters
from batchrun.survey.survey import take_survey
from tests.benchmarks.scale import IN_FLIGHT
from tests.benchmarks.table import written
from tests.reliability.responder import responding
from tests.runs import JobFolder, write_rows

_BODY = (
    b'{"id":"c","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant",'
    b'"content":"'
    + b"a word and another " * 25
    + b'"}}],"usage":{"prompt_tokens":300,"completion_tokens":100}}'
)
"""An answer of 100 tokens or so."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One unit, with what it is counted in."""

    unit: str
    value: float
    of: str


def main(words: Sequence[str]) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks units")
    parser.add_argument("--rows", type=int, default=20_000)
    rows = parser.parse_args(words).rows
    with tempfile.TemporaryDirectory(prefix="batchrun-units-") as folder:
        costs = [*_of_a_run(Path(folder), rows), *_of_the_driver(Path(folder), rows), _of_the_manifest()]
    table = written(("unit", "cost", "of"), [(one.unit, f"{one.value:,.1f}", one.of) for one in costs])
    sys.stdout.write(table + "\n")
    return 0


@contextmanager
def _cpu() -> Iterator[Callable[[], float]]:
    """Seconds of processor time in the block."""
    began = time.process_time()
    yield lambda: time.process_time() - began


def _of_a_run(folder: Path, rows: int) -> Iterator[Cost]:
    job = JobFolder(folder)
    write_rows(job.rows, rows)
    with responding() as (base_url, _process):
        job.write(base_url, endpoints={"local": {"limits": {"concurrency": IN_FLIGHT}}})
        loaded = load_job(job.job, env=dict(os.environ), cwd=folder)
        with _cpu() as took:
            take_survey(loaded, on_rows=lambda _rows: None, keep_index=False)
        yield Cost("index pass", took() / rows * 1e6, "CPU µs a row")
        job.submit_here()
    sealed, results = (
        sum(path.stat().st_size for path in place.glob("*.parquet"))
        for place in (job.checkpoint, job.run / "results")
    )
    index = (job.checkpoint / "index.parquet").stat().st_size
    yield Cost("index on disk", index / rows, "bytes a row")
    yield Cost("sealed parts, small answers", (sealed - index) / rows, "bytes a row")
    yield Cost("results, small answers", results / rows, "bytes a row")
    (job.run / "results").unlink()
    with _cpu() as took:
        job.submit_here()
    yield Cost("publication", took() / rows * 1e6, "CPU µs a row")


class _Worker:
    """A worker that is ready with every call as soon as it may go: what is left is what the driver does."""

    name = "nobody"

    def __init__(self) -> None:
        self.sent = self.bytes = self.deliveries = 0
        self._ready: list[FromWorker] = []
        self._wake = anyio.Event()
        self._calls: dict[int, tuple[int, int]] = {}

    async def collect(self, received: int) -> Delivery:
        await self._wake.wait()
        messages, self._ready, self._wake = self._ready, [], anyio.Event()
        self.deliveries += 1
        delivery = Delivery(self.deliveries, messages)
        if self.deliveries % 50 == 0:
            self.bytes += len(pickle.dumps(delivery))
            self.sent += sum(isinstance(one, Recorded) and one.kind == "done" for one in messages)
        return delivery

    async def deliver(self, messages: Sequence[FromDriver]) -> None:
        for message in messages:
            match message:
                case Shard():
                    for position, one in zip(message.positions, message.assignments, strict=True):
                        self._calls[one.number] = one.number, position
                        size, bound = Size(300, 300), Amounts()
                        self._put(PermitRequest(one.number, "e", "m", size, bound, frozenset()))
                case Granted():
                    self._answer(*self._calls.pop(message.call))
                case NoMoreShards():
                    self._put(Ended())

    def give_up(self) -> None:
        """It cannot be lost."""

    def _answer(self, task: int, row: int) -> None:
        sent = Sent(task, 0, row, row, f"{row:064x}", "e/m", "e", 0, 0.0, 300)
        answer = Answered(task, 0, 0.0, Response(200, {}, _BODY, 0.5))
        done = Done(task, row, f"r{row}", row, sent.request_hash, 0.0, 0, Completed(0))
        self._put(
            Recorded(task, "sent", encode(sent), call=task),
            Recorded(task, "answer", encode(answer)),
            CallFinished(task, CallFeedback("ok", used=400), Amounts(0.001, 400, 1)),
            Freed(task),
            Recorded(task, "done", encode(done)),
        )

    def _put(self, *messages: FromWorker) -> None:
        self._ready.extend(messages)
        self._wake.set()


def _of_the_driver(folder: Path, rows: int) -> Iterator[Cost]:
    """The driver of a run whose workers take no time, by its own processor time; sealing included."""
    checkpoint = folder / "driver"
    checkpoint.mkdir()
    workers = [_Worker() for _ in range(8)]
    with _cpu() as took:
        anyio.run(_drive, checkpoint, rows, workers)
    yield Cost("driver of a cluster, sealing included", took() / rows * 1e6, "CPU µs a row")
    worker = max(workers, key=lambda one: one.sent)
    yield Cost("worker to driver", worker.bytes / max(1, worker.sent), "bytes a row")
    yield Cost("an answer of 100 tokens", len(_BODY), "bytes")


async def _drive(checkpoint: Path, rows: int, workers: list[_Worker]) -> None:
    clock = PausableClock(SystemClock())
    limits = {"e": Limits(concurrency=1_000)}
    admission = Admission(limits, {("e", "m"): Limits()}, clock=clock, jitter=lambda: 0.5)
    journal = Journal(checkpoint, 1, clock)
    control = Control(
        admission,
        journal,
        InFlightCalls(),
        Counters(),
        Breaker(1.0, rows),
        chains=frozenset({(0,)}),
        drain=1.0,
        seal=partial(seal_file, carried=True),
    )
    waiting = iter(workers)

    async def hire() -> _Worker:
        return next(waiting)

    crew = Crew(
        control,
        admission,
        journal,
        Shards(
            pl.DataFrame({"row_index": range(rows), "hash": range(rows)}),
            (Assignment(number, (0,), History()) for number in range(1, rows + 1)),
            iter([]),
            workers=len(workers),
        ),
        Permits(control, admission, journal, [("e", "m")], clock=clock, latencies=Latencies()),
        workers=len(workers),
        hire=hire,
        clock=clock,
        say=lambda _text: None,
        log=lambda _event, **_fields: None,
    )
    await control.run(crew.work)
    journal.close()
    assert control.counters.ok == rows


def _of_the_manifest() -> Cost:
    names = [f"sealed-{number:06d}" for number in range(1_000)]
    pieces = {
        name: ((f"checkpoint/{name}.0001-{at:06d}.parquet", 5_000_000),) for at, name in enumerate(names)
    }
    entries = {
        f"checkpoint/{name}.parquet": Entry(5_000_000, "0" * 32, found) for name, found in pieces.items()
    }
    return Cost("manifest", len(Manifest(1, "job", files=entries).document()) / 1_000, "bytes a part")
