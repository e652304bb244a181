"""The local engine: a feeder, a bounded buffer, workers.

Memory is bounded by the buffer and the workers, never by the rows. There are a few more workers than places
at the endpoints, which change while the run goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from batchrun.admission import Closed
from batchrun.answer.task import Task
from batchrun.engines.control import Beside, Control
from batchrun.engines.supply import Supply
from batchrun.errors import BudgetExhaustedError, StorageError
from batchrun.outcome import Failed
from batchrun.summary import Stop

if TYPE_CHECKING:
    from batchrun.answer.answerer import Answerer

CHUNK = 64
"""Rows rendered at a time, in a thread."""


class LocalEngine:
    """Runs tasks in this process."""

    def __init__(self, answerer: Answerer, control: Control) -> None:
        self._answerer = answerer
        self._control = control
        self._supply = Supply(CHUNK)
        self._workers = 0
        self._hire: Callable[[], None] = _nobody
        control.on_stop = self._supply.drop

    async def run(self, chunks: Iterator[list[Task]], spare: int, *beside: Beside) -> Stop | None:
        """Work through tasks, which come some at a time (see `in_chunks`); `beside` runs alongside. Gives and
        raises what `Control.run` does, and what reading the input raises.

        There are as many workers as places at the endpoints, and `spare` ones for rows that are busy with
        something else than a call.
        """
        return await self._control.run(partial(self.work, chunks, spare), *beside)

    async def work(self, chunks: Iterator[list[Task]], spare: int) -> None:
        """The same within a run of somebody else's, once."""
        async with anyio.create_task_group() as around:
            around.start_soon(self._keep_hiring)
            await self._work(chunks, spare)
            around.cancel_scope.cancel()

    async def _work(self, chunks: Iterator[list[Task]], spare: int) -> None:
        async with anyio.create_task_group() as group:

            def hire() -> None:
                while not self._supply.is_over and self._workers < self._wanted(spare):
                    self._workers += 1
                    group.start_soon(self._control.landing, partial(self._take_rows, spare))

            self._hire = hire
            hire()
            group.start_soon(self._control.landing, partial(self._feed, chunks))
        self._hire = _nobody

    async def _keep_hiring(self) -> None:
        """Places may come while no row is finished: a limit may grow by the clock."""
        while True:
            await anyio.sleep(1)
            self._hire()

    def _wanted(self, spare: int) -> int:
        """Workers to fill every place there is now, and for every row that waits to try again."""
        return self._control.admission.places() + self._answerer.resting + spare

    async def _feed(self, chunks: Iterator[list[Task]]) -> None:
        sent, canary = 0, self._control.canary
        nothing: list[Task] = []
        while chunk := await anyio.to_thread.run_sync(next, chunks, nothing):
            if canary is not None and sent <= canary < sent + len(chunk):
                first = canary - sent
                if first:
                    await self._supply.put(chunk[:first])
                await self._control.canary_judged.wait()
                await self._supply.put(chunk[first:])
            else:
                await self._supply.put(chunk)
            sent += len(chunk)
        self._supply.end()

    async def _take_rows(self, spare: int) -> None:
        """Take rows to their outcomes, as long as there are rows, and places for so many workers."""
        try:
            while task := await self._supply.take():
                await self._finish(task)
                wanted = self._wanted(spare)  # the places grow when calls land
                if self._workers < wanted:
                    self._hire()
                elif self._workers > wanted:
                    return
        finally:
            self._workers -= 1

    async def _finish(self, task: Task) -> None:
        control = self._control
        try:
            done = await self._answerer.answer(task)
            if not isinstance(done, Closed):
                control.journal.append(done)
        except BudgetExhaustedError as exhausted:
            control.stop(Stop("budget", str(exhausted)))
            return
        except StorageError:
            if control.journal.failure:  # no answer could be kept
                control.flights.land_by(anyio.current_time())
            raise
        if isinstance(done, Closed):
            control.leave(task.number, task.models, done)
        else:
            control.count(done.outcome.error.type if isinstance(done.outcome, Failed) else None)


def in_chunks(tasks: Iterator[Task]) -> Iterator[list[Task]]:
    """Tasks, some at a time."""
    while chunk := list(islice(tasks, CHUNK)):
        yield chunk


def _nobody() -> None:
    """There is nobody to hire."""
