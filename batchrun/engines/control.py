"""What every engine needs around its calls: the journal kept and sealed, rows counted, and the ends of a run.

A run ends when all rows have their outcome, or when somebody stops it: the user, a budget, the breaker, the
canary, the clock, a disk. Then nothing more is sent, waiting rows stay pending, and calls under way may land
until the drain is over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import anyio
import anyio.to_thread

from batchrun.admission import Admitting, Unavailable
from batchrun.answer.in_flight import InFlightCalls
from batchrun.engines.closings import describe
from batchrun.engines.signals import obey_signals
from batchrun.outcome import ErrorType, Failed
from batchrun.policy.breaker import Breaker
from batchrun.run_folder.journal.journal import Recorder
from batchrun.run_folder.journal.records import Admitted, Done
from batchrun.summary import Counters, Stop
from batchrun.wording import counted

Beside: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""What runs alongside the rows until they are done."""

SEAL_ROWS = 2_500
SEAL_BYTES = 16_000_000
"""A journal file is closed and sealed after so many finished rows or bytes."""


class Control:
    """The state of one run of an engine.

    `chains` are the models that rows have to ask: when all of them are closed the run stops. `seal` turns a
    closed journal file into a sealed part, in a thread. The first `canary` rows must keep within the
    breaker's share before the rest goes. `time_left` is how long the run may take, in seconds: sending stops
    a tenth of it, or the drain, before. A journal file is sealed after `seal_rows` finished rows, or
    SEAL_BYTES.
    `say` is told of an interruption at once; `keys` says whose key each endpoint is sent;
    `interrupts`, how often the user has asked to stop, where signals do not come to this thread.
    """

    def __init__(
        self,
        admission: Admitting,
        journal: Recorder,
        in_flight_calls: InFlightCalls,
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
        self.admission = admission
        self.journal = journal
        self.in_flight_calls = in_flight_calls
        self.counters = counters
        self.drain = drain
        self.canary = canary
        self.canary_judged = anyio.Event()
        """Set once the first rows have their outcomes, and the rest may go or never will."""
        self.stopped_by: Stop | None = None
        self.on_stop: Callable[[], None] = _nothing
        """Called once, when the run is to stop."""
        self._breaker = breaker
        self._seal = seal
        self._chains = chains
        self._time_left = time_left
        self._seal_rows = seal_rows
        self._say = say
        self._keys = keys
        self._interrupts = interrupts
        self._left = 0
        """Rows left pending."""
        self._closed: dict[tuple[int, ...], Unavailable] = {}
        """Why rows were left pending, by the chain of models that was closed to them; () where to one."""
        self._scope = anyio.CancelScope()
        self._file_full = anyio.Event()

    async def run(self, work: Beside, *beside: Beside) -> Stop | None:
        """Do `work` until it ends or the run is stopped; `beside` runs alongside.

        Gives what stopped it, or None when every row has its outcome. Raises StorageError when the journal
        cannot be written, and whatever `work` and `beside` raise.
        """
        async with anyio.create_task_group() as around:
            own: list[Beside] = [
                self.journal.commit_forever,
                self._seal_full_files,
                lambda: obey_signals(self._interrupt, self._interrupts),
            ]
            if self._time_left is not None:
                own.append(partial(self._end_in_time, self._time_left))
            for extra in [*own, *beside]:
                around.start_soon(self.guarded, extra)
            with self._scope:
                await self.guarded(work)
            around.cancel_scope.cancel()
        return self.stopped_by or self._left_behind()

    async def guarded(self, run: Beside) -> None:
        """Whatever fails while an engine runs ends it, and calls under way get the drain and no more."""
        try:
            await run()
        except Exception:
            self.in_flight_calls.drain_until(anyio.current_time() + self.drain)
            raise

    def stop(self, reason: Stop, drain: float = math.inf) -> None:
        """Send nothing more; calls under way may land until the drain is over."""
        self.in_flight_calls.drain_until(anyio.current_time() + min(drain, self.drain))
        if self.stopped_by is None:
            self.stopped_by = reason
            self.on_stop()
            self._scope.cancel()

    def leave(self, task: int, models: tuple[int, ...], closed: Unavailable) -> None:
        """Leave the row of a task pending, and stop when no chain of models is open to any row."""
        self._closed.setdefault(() if closed.is_rows_own else models, closed)
        self._left += 1
        self._judge_canary()
        reason = self._left_behind()
        if reason and self._chains <= self._closed.keys():
            self.stop(reason)

    def finish(self, done: Done) -> None:
        """A row has its outcome: record it, and count it. Raises StorageError."""
        self.journal.append(done)
        self.count(done.outcome.error.type if isinstance(done.outcome, Failed) else None)

    def count(self, failed: ErrorType | None) -> None:
        """A row has its outcome, which is recorded: it failed so, or not (None)."""
        if failed is not None:
            self.counters.failed += 1
            self.counters.errors[failed] += 1
        else:
            self.counters.ok += 1
        self._breaker.record(failed is not None)
        self._judge_canary()
        if tripped := self._breaker.tripped:
            self.stop(Stop("breaker", tripped))
        if self.journal.finished >= self._seal_rows or self.journal.size >= SEAL_BYTES:
            self._file_full.set()

    async def _end_in_time(self, seconds: float) -> None:
        """Stop so that the calls under way have landed, or are given up, when the time is over."""
        drain = min(self.drain, seconds / 10)
        await anyio.sleep(max(0.0, seconds - drain))
        self.stop(Stop("wall_time", "the time of budget.wall_time is used up"), drain)

    def _left_behind(self) -> Stop | None:
        """Why rows were left pending, if some were."""
        if not self._closed:
            return None
        refused = any(closed.reason.type in ("auth", "model_not_found") for closed in self._closed.values())
        closings = [*self._closed.values(), *self.admission.reasons()]
        reasons = "; ".join(dict.fromkeys(describe(closed, self._keys) for closed in closings))
        return Stop("refused" if refused else "no_model", f"no model is left to ask: {reasons}")

    def _judge_canary(self) -> None:
        """Let the rest of the rows go, or stop, once the first ones have their outcomes.

        As soon as the breaker trips among them it is the canary that has failed.
        """
        if self.canary is None or self.canary_judged.is_set():
            return
        finished = self.counters.finished
        if finished + self._left < self.canary and not self._breaker.tripped:
            return
        self.canary_judged.set()
        if reason := self._breaker.fails_canary(self.counters.failed, finished, self.counters.errors):
            self.stop(Stop("canary", reason))

    async def _seal_full_files(self) -> None:
        while True:
            await self._file_full.wait()
            with anyio.CancelScope(shield=True):  # half of it done would be found at the next submit
                closed = await self.journal.rotate(lambda: Admitted(self.admission.snapshot()))
                self._file_full = anyio.Event()
                await anyio.to_thread.run_sync(self._seal, closed)

    def _interrupt(self, reason: Stop) -> None:
        self.stop(reason)
        self.stopped_by = reason  # also where something else had stopped it
        if reason.at_once:
            self.in_flight_calls.drain_until(anyio.current_time())
        elif calls := len(self.in_flight_calls):
            waits = f"waiting up to {self.drain:g} s for {counted(calls, 'call')} under way"
            self._say(f"{reason.message}: {waits}; once more stops at once")


def _nothing() -> None:
    """There is nothing to do."""
