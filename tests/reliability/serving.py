"""`concurrency: auto` against a simulator of a hidden capacity, as its ledger saw it.

served = serve(folder, [Phase(12, 40), Phase(12, 10)], queue=False)
served[1].share(2)      of what ten places can do, from the second second of the phase on
"""

from __future__ import annotations

import math
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from batchrun.simulator import Call
from tests.reliability.table import Line
from tests.runs import JobFolder, simulated

SERVICE = 0.3
"""Seconds that a completion takes; where they differ, half of them take less."""
_SIGMA = 0.5
_STARTED = 60.0


class Phase(NamedTuple):
    """For how many seconds the server has how many places."""

    seconds: float
    places: int


@dataclass(frozen=True, slots=True)
class Served:
    """What one phase came to. Times in seconds from its beginning."""

    phase: Phase
    mean: float
    """Seconds that a completion takes on average, once begun."""
    ended: tuple[float, ...]
    """When completions were ready."""
    calls: int
    refused: int
    latencies: tuple[float, ...]
    """Of completions, from the arrival of the call."""

    def share(self, start: float = 0.0, end: float = math.inf) -> float:
        """Work done between two moments, of what the places could have done."""
        end = min(end, self.phase.seconds)
        ready = sum(start <= at < end for at in self.ended)
        return ready * self.mean / (self.phase.places * (end - start))

    @property
    def reached(self) -> float:
        """The second from which on nine tenths are done to the end of the phase; infinite when never."""
        moments = range(int(self.phase.seconds) - 2)
        return next((float(start) for start in moments if self.share(start) >= 0.9), math.inf)

    @property
    def slowest(self) -> float:
        """Latency that one in twenty is above."""
        return sorted(self.latencies)[int(len(self.latencies) * 0.95)] if self.latencies else math.nan


def serve(
    folder: Path,
    phases: Sequence[Phase],
    *,
    queue: bool,
    spread: bool = False,
    retry_after: str = "header",
) -> list[Served]:
    """Submit a job that would take longer than all phases, and stop it after the last one.

    spread: latencies are lognormal; else all alike.
    """
    mean = SERVICE * math.exp(_SIGMA**2 / 2) if spread else SERVICE
    steps = [
        {"at": sum(phase.seconds for phase in phases[:place]), "concurrency": phase.places}
        for place, phase in enumerate(phases)
    ]
    latency = (
        {"kind": "lognormal", "median": SERVICE, "sigma": _SIGMA}
        if spread
        else {"kind": "constant", "seconds": SERVICE}
    )
    limits = {"concurrency": steps, "queue": queue, "retry_after": retry_after}
    rows = 500 + int(sum(phase.seconds * phase.places for phase in phases) / mean)
    with simulated(folder, rows=rows, config={"latency": latency, "limits": limits}, endpoints=AUTO) as job:
        calls = run_for(job, sum(phase.seconds for phase in phases))
    return list(_by_phase(calls, phases, mean))


def batching(folder: Path, concurrency: int | str, *, seconds: float = 20.0) -> float:
    """Completions a second, after the first six seconds, from an engine that batches: each is the slower the
    more there are, and all together come the faster, up to 133 a second."""
    config = {"latency": {"kind": "constant", "seconds": SERVICE}, "slowdown": 40}
    endpoints = {"local": {"limits": {"concurrency": concurrency}}}
    with simulated(folder, rows=int(seconds * 200), config=config, endpoints=endpoints) as job:
        calls = run_for(job, seconds)
    start = calls[0].at
    ended = [call.answer.at - start for call in calls if call.answer and call.answer.status == 200]
    return sum(6 <= at < seconds for at in ended) / (seconds - 6)


def said(name: str, served: Sequence[Served]) -> str:
    """A line for what came of the phases."""
    phases = ", ".join(
        f"{one.phase.places} places: {one.share(one.phase.seconds / 2):.0%}, nine tenths from "
        f"{one.reached:.0f} s on, {one.refused} of {one.calls} refused, p95 {one.slowest:.2f} s"
        for one in served
    )
    return f"{name}: {phases}"


AUTO: Mapping[str, Any] = {"local": {"limits": {"concurrency": "auto"}}}


def run_for(job: JobFolder, seconds: float, *, once: Callable[[list[Call]], bool] = bool) -> list[Call]:
    """Submit, interrupt it `seconds` after `once` holds of its calls, and give them.

    By default that is after the first call.
    """
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun = len(job.calls()) if job.ledger.exists() else 0
    give_up = time.monotonic() + _STARTED
    while process.poll() is None and time.monotonic() < give_up:
        if job.ledger.exists() and once(job.calls()[begun:]):
            break
        time.sleep(0.05)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait(_STARTED)
    return job.calls()[begun:]


def _by_phase(calls: Sequence[Call], phases: Sequence[Phase], mean: float) -> list[Served]:
    start, found = calls[0].at, []
    for phase in phases:
        end = start + phase.seconds
        ready = [
            (call.answer.at - start, call.answer.at - call.at)
            for call in calls
            if call.answer and call.answer.status == 200 and start <= call.answer.at < end
        ]
        sent = [call for call in calls if start <= call.at < end]
        refused = sum(call.answer is not None and call.answer.status == 429 for call in sent)
        found.append(
            Served(
                phase,
                mean,
                tuple(at for at, _ in ready),
                len(sent),
                refused,
                tuple(latency for _, latency in ready),
            )
        )
        start = end
    return found


PHASES = (Phase(12, 40), Phase(12, 10), Phase(30, 60))


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """A capacity that falls and rises: nine tenths of it in the second half of each phase; and an engine
    whose throughput rises with what it has at once: 85% of the best fixed number."""
    for name, queue in (("queueing", True), ("refusing", False)):
        served = serve(_place(folder, name), PHASES if full else PHASES[:2], queue=queue, spread=True)
        held = all(one.share(one.phase.seconds / 2) >= 0.9 for one in served)
        yield Line(f"capacity that changes, {name}", f"{len(served)} phases", held, note=said(name, served))
    given: tuple[int | str, ...] = (8, 32, 128, 512, "auto") if full else (128, "auto")
    rates = {str(one): batching(_place(folder, f"batches-{one}"), one) for one in given}
    yield Line(
        "capacity of an engine that batches",
        f"{len(rates)} runs",
        held=rates["auto"] >= 0.85 * max(rates.values()),
        note="completions/s: " + ", ".join(f"{k}: {v:.0f}" for k, v in rates.items()),
    )


def _place(folder: Path, name: str) -> Path:
    place = folder / name
    place.mkdir()
    return place
