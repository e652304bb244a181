"""The local engine by itself: how many rows are at work, and when the first rows are judged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from batchrun.admission import Admission, Unavailable
from batchrun.answer.in_flight import InFlightCalls
from batchrun.answer.task import Task
from batchrun.clock import SystemClock
from batchrun.engines.chunks import in_chunks
from batchrun.engines.control import Control
from batchrun.engines.local import LocalEngine
from batchrun.limits import Limits
from batchrun.outcome import Completed, Error, Failed
from batchrun.policy.breaker import Breaker
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.journal.records import Done
from batchrun.summary import Counters, Stop

AWAY = Unavailable("e", None, Error("server", "it is down"), None)
BAD = Failed(Error("invalid_request", "no"))


@dataclass
class Run:
    """An engine whose rows are answered by a function instead of by an endpoint."""

    folder: Path
    answer: Callable[[Task], Awaitable[Done | Unavailable]]
    canary: int | None = None
    failed: float = 0.5
    resting = 0

    def __post_init__(self) -> None:
        self.counters, self.clock = Counters(), SystemClock()
        self.admission = Admission(
            {"e": Limits(concurrency="auto")}, {("e", "m"): Limits()}, clock=self.clock, jitter=lambda: 0.5
        )

    def over(self, tasks: list[Task]) -> Stop | None:
        return anyio.run(self._over, tasks)

    async def _over(self, tasks: list[Task]) -> Stop | None:
        journal = Journal(self.folder, 1, self.clock)
        control = Control(
            self.admission,
            journal,
            InFlightCalls(),
            self.counters,
            Breaker(self.failed, 1_000),
            chains=frozenset({(0,), (1,)}),
            drain=0.0,
            seal=lambda _: None,
            canary=self.canary,
        )
        engine = LocalEngine(self, control, 0)  # type: ignore[arg-type] # an answerer, as far as it sees one
        with anyio.fail_after(10):
            stop = await control.run(lambda: engine.work(in_chunks(iter(tasks))))
        journal.close()
        return stop


def row(number: int, *models: int) -> Task:
    return Task(number, number, f"r{number}", number, "0" * 64, BAD.error, models or (0,))


def done(task: Task, *, ok: bool = True) -> Done:
    outcome = Completed(0) if ok else BAD
    return Done(task.number, task.row, task.row_id, task.key, task.request_hash, 0.0, 0, outcome)


def test_workers_come_while_no_row_is_finished(tmp_path: Path) -> None:
    """20 places and workers for them; then the limit grows by the clock, and all 90 rows are at work."""
    at_work: list[int] = []
    all_at_work = anyio.Event()

    async def answer(task: Task) -> Done:
        at_work.append(task.number)
        if len(at_work) == 20:
            run.admission._endpoints["e"].restore({"concurrency": {"limit": 120, "rising": True}}, 0, 0)
        if len(at_work) == 90:
            all_at_work.set()
        await all_at_work.wait()
        return done(task)

    run = Run(tmp_path, answer)
    assert run.over([row(number) for number in range(90)]) is None
    assert run.counters.ok == 90


@pytest.mark.parametrize("rows", [0, 1, 4, 5])
def test_a_canary_of_more_rows_than_there_are_holds_nothing(tmp_path: Path, rows: int) -> None:
    async def answer(task: Task) -> Done:
        return done(task)

    run = Run(tmp_path, answer, canary=5)
    assert run.over([row(number) for number in range(rows)]) is None
    assert run.counters.ok == rows


def test_canary_rows_that_stay_pending_hold_nothing(tmp_path: Path) -> None:
    """The first rows' models are closed, those of the others are not: nothing of the first can be judged."""

    async def answer(task: Task) -> Done | Unavailable:
        return AWAY if task.model_indexes == (0,) else done(task)

    run = Run(tmp_path, answer, canary=5)
    stop = run.over([*(row(number) for number in range(5)), *(row(number, 1) for number in range(5, 200))])
    assert (run.counters.ok, stop.kind if stop else None) == (195, "no_model")


@pytest.mark.parametrize(("bad", "kind"), [(1, "no_model"), (2, "canary")])
def test_of_a_canary_the_rows_are_judged_that_have_an_outcome(tmp_path: Path, bad: int, kind: str) -> None:
    """3 of 5 first rows stay pending: of the two others more than half may not fail."""

    async def answer(task: Task) -> Done | Unavailable:
        return AWAY if task.number < 3 else done(task, ok=not 3 <= task.number < 3 + bad)

    run = Run(tmp_path, answer, canary=5)
    tasks = [row(number, *((0,) if number < 3 else (1,))) for number in range(100)]
    stop = run.over(tasks)
    assert stop is not None
    assert stop.kind == kind
    assert run.counters.finished == (2 if kind == "canary" else 97)
