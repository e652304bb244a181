"""The local engine: a feeder, a bounded buffer, workers.

Memory is bounded by the buffer and the workers, never by the rows. There are a few more workers than places
at the endpoints, which change while the run goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import anyio

from batchrun.admission import Unavailable
from batchrun.answer.task import Task
from batchrun.engines.chunks import CHUNK, in_thread
from batchrun.engines.control import Control
from batchrun.engines.supply import Supply
from batchrun.errors import BudgetExhaustedError, StorageError
from batchrun.summary import Stop

if TYPE_CHECKING:
    from batchrun.answer.answerer import Answerer


class LocalEngine:
    """Runs tasks in this process.

    There are as many workers as places at the endpoints, and `spare` ones for rows that are busy with
    something else than a call.
    """

    def __init__(self, answerer: Answerer, control: Control, spare: int) -> None:
        self._answerer = answerer
        self._control = control
        self._spare = spare
        self._supply = Supply(CHUNK)
        self._workers = 0
        self._hire: Callable[[], None] = _nobody
        control.on_stop = self._supply.drop

    async def work(self, chunks: Iterator[list[Task]]) -> None:
        """Take tasks to their outcomes, once; they come some at a time (see `in_chunks`).

        To be done within `Control.run`. Raises what reading the input raises, and StorageError.
        """
        async with anyio.create_task_group() as around:
            around.start_soon(self._keep_hiring)
            async with anyio.create_task_group() as group:

                def hire() -> None:
                    while not self._supply.is_over and self._workers < self._wanted():
                        self._workers += 1
                        group.start_soon(self._control.guarded, self._take_rows)

                self._hire = hire
                hire()
                await self._control.guarded(lambda: self._feed(chunks))
            self._hire = _nobody
            around.cancel_scope.cancel()

    async def _keep_hiring(self) -> None:
        """Places may come while no row is finished: a limit may grow by the clock."""
        while True:
            await anyio.sleep(1)
            self._hire()

    def _wanted(self) -> int:
        """Workers to fill every place there is now, and for every row that waits to try again."""
        return self._control.admission.slots() + self._answerer.resting + self._spare

    async def _feed(self, chunks: Iterator[list[Task]]) -> None:
        sent, canary = 0, self._control.canary
        async for chunk in in_thread(chunks):
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

    async def _take_rows(self) -> None:
        """Take rows to their outcomes, as long as there are rows, and places for so many workers."""
        try:
            while task := await self._supply.take():
                await self._finish(task)
                wanted = self._wanted()  # the slots grow when calls end
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
            if isinstance(done, Unavailable):
                control.leave(task.number, task.model_indexes, done)
            else:
                control.finish(done)
        except BudgetExhaustedError as exhausted:
            control.stop(Stop("budget", str(exhausted)))
        except StorageError:
            if control.journal.failure:  # no answer could be kept
                control.in_flight_calls.drain_until(anyio.current_time())
            raise


def _nobody() -> None:
    """There is nobody to hire."""
