"""The local engine: a feeder, a bounded buffer, workers, one journal.

Memory is bounded by the buffer and the workers, never by the rows. There are a few more workers than places
at the endpoints, which change while the run goes. When the run stops, waiting rows stay pending and calls
under way may land until the drain is over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import anyio.to_thread

from batchrun.admission import Admission, Closed
from batchrun.answer.task import Task
from batchrun.breaker import Breaker
from batchrun.engines.closings import describe
from batchrun.engines.signals import obey_signals
from batchrun.engines.supply import Supply
from batchrun.errors import BudgetExhaustedError, StorageError
from batchrun.flights import Flights
from batchrun.outcome import Failed
from batchrun.run_folder.journal import Journal
from batchrun.run_folder.records import Admitted, Done
from batchrun.summary import Counters, Stop
from batchrun.wording import counted

if TYPE_CHECKING:
    from batchrun.answer.answerer import Answerer

Beside: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""What runs alongside the workers until they are done."""

CHUNK = 64
"""Rows rendered at a time, in a thread."""

SEAL_ROWS = 2_500
SEAL_BYTES = 16_000_000
"""A journal file is closed and sealed after so many finished rows or bytes."""


class LocalEngine:
    """Runs tasks on this machine.

    `chains` are those that tasks have: when all of them are closed the run stops. `seal` turns a closed
    journal file into a sealed part, in a thread. The first `canary` rows must keep within the breaker's
    share before the rest goes. `time_left` is how long the run may take, in seconds: sending stops a tenth of
    it, or the drain, before. A journal file is sealed after `seal_rows` finished rows, or SEAL_BYTES.
    `say` is told of an interruption at once; `keys` says whose key each endpoint is sent;
    `interrupts`, how often the user has asked to stop, where signals do not come to this thread.
    """

    def __init__(
        self,
        answerer: Answerer,
        admission: Admission,
        journal: Journal,
        flights: Flights,
        counters: Counters,
        breaker: Breaker,
        *,
        chains: frozenset[tuple[int, ...]],
        drain: float,
        seal: Callable[[Path], None],
        canary: int | None = None,
        time_left: float | None = None,
        seal_rows: int = SEAL_ROWS,
        say: Callable[[str], None] = lambda text: None,
        keys: Mapping[str, str] = MappingProxyType({}),
        interrupts: Callable[[], int] | None = None,
    ) -> None:
        self._answerer = answerer
        self._admission = admission
        self._journal = journal
        self._flights = flights
        self._counters = counters
        self._breaker = breaker
        self._drain = drain
        self._seal = seal
        self._chains = chains
        self._canary = canary
        self._canary_judged = anyio.Event()
        self._time_left = time_left
        self._seal_rows = seal_rows
        self._say = say
        self._keys = keys
        self._interrupts = interrupts
        self._supply = Supply(CHUNK)
        self._workers = 0
        self._hire: Callable[[], None] = _nobody
        self._left = 0
        """Rows left pending."""
        self._closed: dict[tuple[int, ...], Closed] = {}
        """Why rows were left pending, by the chain of models that was closed to them."""
        self._scope = anyio.CancelScope()
        self._file_full = anyio.Event()
        self._stopped_by: Stop | None = None

    async def run(self, tasks: Iterator[Task], spare: int, *beside: Beside) -> Stop | None:
        """Work through `tasks`; `beside` runs alongside.

        There are as many workers as places at the endpoints, and `spare` ones for rows that are busy with
        something else than a call.

        Gives what stopped it, or None when every task has its outcome. Raises StorageError when
        the journal cannot be written, and what reading the input raises.
        """
        async with anyio.create_task_group() as around:
            own: list[Beside] = [
                self._journal.commit_forever,
                self._seal_full_files,
                lambda: obey_signals(self._interrupt, self._interrupts),
                self._keep_hiring,
            ]
            if self._time_left is not None:
                own.append(partial(self._end_in_time, self._time_left))
            for extra in [*own, *beside]:
                around.start_soon(self._landing, extra)
            with self._scope:
                await self._landing(lambda: self._work(tasks, spare))
            around.cancel_scope.cancel()
        return self._stopped_by or self._left_behind()

    async def _landing(self, run: Beside) -> None:
        """Whatever fails while the engine runs ends it, and calls under way get the drain and no more."""
        try:
            await run()
        except Exception:
            self._flights.land_by(anyio.current_time() + self._drain)
            raise

    def stop(self, reason: Stop, drain: float = math.inf) -> None:
        """Send nothing more; calls under way may land until the drain is over."""
        self._flights.land_by(anyio.current_time() + min(drain, self._drain))
        if self._stopped_by is None:
            self._stopped_by = reason
            self._supply.drop()
            self._scope.cancel()

    async def _end_in_time(self, seconds: float) -> None:
        """Stop so that the calls under way have landed, or are given up, when the time is over."""
        landing = min(self._drain, seconds / 10)
        await anyio.sleep(max(0.0, seconds - landing))
        self.stop(Stop("wall_time", "the time of budget.wall_time is used up"), landing)

    async def _work(self, tasks: Iterator[Task], spare: int) -> None:
        async with anyio.create_task_group() as group:

            def hire() -> None:
                while not self._supply.is_over and self._workers < self._wanted(spare):
                    self._workers += 1
                    group.start_soon(self._landing, partial(self._take_rows, spare))

            self._hire = hire
            hire()
            group.start_soon(self._landing, partial(self._feed, tasks))
        self._hire = _nobody

    async def _keep_hiring(self) -> None:
        """Places may come while no row is finished: a limit may grow by the clock."""
        while True:
            await anyio.sleep(1)
            self._hire()

    def _wanted(self, spare: int) -> int:
        """Workers to fill every place there is now, and for every row that waits to try again."""
        return self._admission.places() + self._answerer.resting + spare

    async def _feed(self, tasks: Iterator[Task]) -> None:
        sent = 0
        while chunk := await anyio.to_thread.run_sync(lambda: list(islice(tasks, CHUNK))):
            if self._canary is not None and sent <= self._canary < sent + len(chunk):
                first = self._canary - sent
                if first:
                    await self._supply.put(chunk[:first])
                await self._canary_judged.wait()
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
        try:
            done = await self._answerer.answer(task)
            if not isinstance(done, Closed):
                self._journal.append(done)
        except BudgetExhaustedError as exhausted:
            self.stop(Stop("budget", str(exhausted)))
            return
        except StorageError:
            if self._journal.failure:  # no answer could be kept
                self._flights.land_by(anyio.current_time())
            raise
        if isinstance(done, Closed):
            self._leave(task, done)
        else:
            self._count(done)

    def _leave(self, task: Task, closed: Closed) -> None:
        """Leave a row pending, and stop when no chain of models is open to any row."""
        self._closed.setdefault(task.models, closed)
        self._left += 1
        self._judge_canary()
        reason = self._left_behind()
        if reason and self._chains <= self._closed.keys():
            self.stop(reason)

    def _left_behind(self) -> Stop | None:
        """Why rows were left pending, if some were."""
        if not self._closed:
            return None
        refused = any(closed.reason.type in ("auth", "model_not_found") for closed in self._closed.values())
        closings = [*self._closed.values(), *self._admission.reasons()]
        reasons = "; ".join(dict.fromkeys(describe(closed, self._keys) for closed in closings))
        return Stop("refused" if refused else "no_model", f"no model is left to ask: {reasons}")

    def _count(self, done: Done) -> None:
        outcome = done.outcome
        if isinstance(outcome, Failed):
            self._counters.failed += 1
            self._counters.errors[outcome.error.type] += 1
        else:
            self._counters.ok += 1
        self._breaker.record(isinstance(outcome, Failed))
        self._judge_canary()
        if tripped := self._breaker.tripped:
            self.stop(Stop("breaker", tripped))
        if self._journal.finished >= self._seal_rows or self._journal.size >= SEAL_BYTES:
            self._file_full.set()

    def _judge_canary(self) -> None:
        """Let the rest of the rows go, or stop, once the first ones have their outcomes.

        As soon as the breaker trips among them it is the canary that has failed.
        """
        if self._canary is None or self._canary_judged.is_set():
            return
        finished = self._counters.finished
        if finished + self._left < self._canary and not self._breaker.tripped:
            return
        self._canary_judged.set()
        if reason := self._breaker.fails_canary(self._counters.failed, finished, self._counters.errors):
            self.stop(Stop("canary", reason))

    async def _seal_full_files(self) -> None:
        while True:
            await self._file_full.wait()
            with anyio.CancelScope(shield=True):  # half of it done would be found at the next submit
                closed = await self._journal.rotate(lambda: Admitted(self._admission.snapshot()))
                self._file_full = anyio.Event()
                await anyio.to_thread.run_sync(self._seal, closed)

    def _interrupt(self, reason: Stop) -> None:
        self.stop(reason)
        self._stopped_by = reason  # also where something else had stopped it
        if reason.at_once:
            self._flights.land_by(anyio.current_time())
        elif calls := len(self._flights):
            waits = f"waiting up to {self._drain:g} s for {counted(calls, 'call')} under way"
            self._say(f"{reason.message}: {waits}; once more stops at once")


def _nobody() -> None:
    """There is nobody to hire."""
