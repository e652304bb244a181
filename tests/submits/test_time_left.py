"""The time that a running submit says is left, beside the time that it then takes; in virtual time."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from batchrun.answer.task import Task
from batchrun.clock import PausableClock
from batchrun.outcome import Completed
from batchrun.progress.display import View
from batchrun.progress.snapshot import Watcher
from batchrun.progress.time_left import Moment, TimeLeft
from batchrun.render.renderer import Renderer
from batchrun.render.request import RowRequest
from batchrun.run_folder.journal.records import Done
from tests.clock import run_virtual
from tests.stack import Stack, completion, job_of

Latency = Callable[[random.Random], float]


def around(median: float, sigma: float) -> Latency:
    """Lognormal seconds."""
    return lambda rng: rng.lognormvariate(math.log(median), sigma)


@dataclass(frozen=True, slots=True)
class Case:
    """A job and its server."""

    rows: int
    latency: Latency
    limits: Mapping[str, Any] = field(default_factory=lambda: {"concurrency": 16})
    slots: int | None = None
    """How many calls the server takes at once; the others wait there."""
    down: tuple[float, float] | None = None
    """From when to when it says 503."""


PATIENT = {"retry": {"timeout": {"idle": 3_600, "total": 3_600, "row": 7_200}}}

CASES = {
    "short answers": Case(1_500, around(2, 0.5)),
    "long answers": Case(800, around(30, 0.4), {"concurrency": 64}),
    "answers of very different length": Case(3_000, around(5, 1.0)),
    "a few slow places": Case(60, around(40, 0.4), {"concurrency": 2}),
    "requests a minute": Case(400, around(2, 0.5), {"concurrency": 64, "rpm": 60}),
    "tokens a minute": Case(2_400, around(2, 0.5), {"concurrency": 64, "tpm": 30_000}),
    "a server that is away for a while": Case(1_500, around(2, 0.5), down=(60, 100)),
    "a server that queues": Case(3_000, around(2, 0.5), {"concurrency": 64}, slots=20),
    "a ramp": Case(6_000, around(2, 0.5), {"concurrency": "auto"}, slots=40),
}


def seen(folder: Path, case: Case) -> tuple[list[tuple[float, float, float | None]], float]:
    """Each second: when, the share of rows that are done, the time said to be left; and when it ended."""
    job = job_of(
        folder,
        {"endpoints": {"main": {"base_url": "http://main/v1", "limits": dict(case.limits)}}, **PATIENT},
    )
    rng = random.Random(7)
    looks: list[tuple[float, float, float | None]] = []
    places = anyio.Semaphore(case.slots or 10_000)

    async def main() -> float:
        async def endpoint(_request: httpx.Request) -> httpx.Response:
            now = stack.clock.monotonic()
            if case.down and case.down[0] <= now < case.down[1]:
                return httpx.Response(503)
            async with places:
                await anyio.sleep(case.latency(rng))
            usage = {"prompt_tokens": 10, "completion_tokens": 90, "total_tokens": 100}
            return httpx.Response(200, content=json.dumps({**completion(), "usage": usage}).encode())

        stack = Stack(job, folder, {"main": endpoint})
        renderer = Renderer(job)
        counters = stack.counters
        counters.to_do = case.rows
        view = View(
            counters,
            stack.in_flight_calls,
            stack.admission,
            PausableClock(stack.clock),
            ("main", "large"),
            stack.latencies,
        )
        left = iter(range(case.rows))

        async def work() -> None:
            for row in left:
                request = renderer.render({"text": f"row {row}"})
                assert isinstance(request, RowRequest)
                done = await stack.answerer.answer(
                    Task(row, row, f"r{row}", row, request.request_hash, request, (0,))
                )
                assert isinstance(done, Done)
                assert isinstance(done.outcome, Completed)
                counters.ok += 1

        async def look() -> None:
            watcher = Watcher(view)
            while True:
                now = stack.clock.monotonic()
                snapshot = watcher.snapshot(now)
                looks.append((now, counters.finished / case.rows, snapshot.seconds_left))
                await anyio.sleep(1)

        async with anyio.create_task_group() as group:
            group.start_soon(look)
            async with anyio.create_task_group() as workers:
                for _ in range(80):
                    workers.start_soon(work)
            ended = stack.clock.monotonic()
            group.cancel_scope.cancel()
        stack.journal.close()
        return ended

    return looks, run_virtual(main)


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_the_time_left_holds(name: str, tmp_path: Path) -> None:
    """From a tenth of the rows on there is always one, and nine in ten are off by 15% of the whole at most.

    Nobody can know that a server will go away for a seventh of the time: what is said before is short of it.
    """
    looks, ended = seen(tmp_path, CASES[name])
    said = [(at, left) for at, share, left in looks if share >= 0.1]
    assert all(left is not None for _at, left in said)
    off = sorted(abs(at + (left or 0.0) - ended) / ended for at, left in said)
    assert off[int(0.9 * len(off))] <= (0.3 if CASES[name].down else 0.15)


def steadily(until: int) -> tuple[TimeLeft, Moment]:
    """A submit that finishes a row a second on two places, and how it stands after so many seconds."""
    follower = TimeLeft()
    for second in range(until + 1):
        now = Moment(float(second), to_do=1_000, finished=second, in_flight=2)
        follower.estimate(now)
    return follower, now


def test_a_long_wait_is_added_and_does_not_slow_the_pace() -> None:
    """An endpoint that asks for an hour gets it; the rows that are left take as long as they did."""
    follower, now = steadily(200)
    for waited in range(0, 3_000, 10):
        stood = replace(now, at=now.at + waited, in_flight=0, away=3_600.0 - waited)
        left = follower.estimate(stood)
        assert left == pytest.approx(800 + 3_600 - waited, rel=0.02)


def test_a_pause_does_not_slow_the_pace() -> None:
    """After an hour in which nothing was sent the same is left as before."""
    follower, now = steadily(200)
    for second in range(3_600):
        follower.estimate(replace(now, at=now.at + second, in_flight=0, is_paused=True))
    left = follower.estimate(replace(now, at=now.at + 3_600))
    assert left == pytest.approx(800, rel=0.02)


def test_nothing_is_said_before_a_row_is_done() -> None:
    """Calls under way alone do not tell how long they take."""
    follower = TimeLeft()
    for second in range(10):
        assert follower.estimate(Moment(float(second), to_do=10, finished=0, in_flight=5)) is None
