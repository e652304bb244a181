"""The local engine: a feeder, a bounded buffer, N workers, one journal.

Memory is bounded by the buffer and the workers, never by the rows. When the run stops, waiting rows
stay pending and calls under way may land until the drain is over.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from batchrun.admission import Admission
from batchrun.answer import Answerer, Task
from batchrun.breaker import Breaker
from batchrun.errors import StorageError
from batchrun.flights import Flights
from batchrun.outcome import Failed
from batchrun.run_folder.journal import Journal
from batchrun.run_folder.records import Admitted, Done
from batchrun.summary import Counters, Stop, StopKind

Beside: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""What runs alongside the workers until they are done."""

CHUNK = 64
"""Rows rendered at a time, in a thread."""

SEAL_ROWS = 5_000
SEAL_BYTES = 64_000_000
"""A journal file is closed and sealed after so many finished rows or bytes."""


class LocalEngine:
    """Runs tasks on this machine. `seal` turns a closed journal file into a sealed part, in a thread."""

    def __init__(
        self,
        answerer: Answerer,
        admission: Admission,
        journal: Journal,
        flights: Flights,
        counters: Counters,
        breaker: Breaker,
        *,
        drain: float,
        seal: Callable[[Path], None],
    ) -> None:
        self._answerer = answerer
        self._admission = admission
        self._journal = journal
        self._flights = flights
        self._counters = counters
        self._breaker = breaker
        self._drain = drain
        self._seal = seal
        self._scope = anyio.CancelScope()
        self._file_full = anyio.Event()
        self._stopped_by: Stop | None = None

    async def run(self, tasks: Iterator[Task], workers: int, *beside: Beside) -> Stop | None:
        """Work through `tasks`; `beside` runs alongside.

        Gives what stopped it, or None when every task has its outcome. Raises StorageError when
        the journal cannot be written, and what reading the input raises.
        """
        async with anyio.create_task_group() as around:
            own: list[Beside] = [
                self._journal.commit_forever,
                self._seal_full_files,
                self._obey_signals,
            ]
            for extra in [*own, *beside]:
                around.start_soon(extra)
            with self._scope:
                await self._work(tasks, workers)
            around.cancel_scope.cancel()
        return self._stopped_by

    def stop(self, reason: Stop) -> None:
        """Send nothing more; calls under way may land until the drain is over."""
        if self._stopped_by is None:
            self._stopped_by = reason
            self._flights.land_by(anyio.current_time() + self._drain)
            self._scope.cancel()

    async def _work(self, tasks: Iterator[Task], workers: int) -> None:
        send, receive = anyio.create_memory_object_stream[Task](workers)
        async with anyio.create_task_group() as group:
            with receive:
                for _ in range(workers):
                    group.start_soon(self._worker, receive.clone())
            group.start_soon(self._feed, tasks, send)

    async def _feed(self, tasks: Iterator[Task], send: MemoryObjectSendStream[Task]) -> None:
        with send:
            while chunk := await anyio.to_thread.run_sync(lambda: list(islice(tasks, CHUNK))):
                for task in chunk:
                    await send.send(task)

    async def _worker(self, receive: MemoryObjectReceiveStream[Task]) -> None:
        with receive:
            async for task in receive:
                done = await self._answer(task)
                if done is not None:
                    self._journal.append(done)
                    self._count(done)

    async def _answer(self, task: Task) -> Done | None:
        """The row's outcome; None when its models are closed: it stays pending."""
        try:
            done = await self._answerer.answer(task)
        except StorageError:
            self._flights.land_by(anyio.current_time())
            raise
        if done is None and (closed := self._answerer.why_closed()):
            self.stop(closed)
        return done

    def _count(self, done: Done) -> None:
        failed = isinstance(done.outcome, Failed)
        if isinstance(done.outcome, Failed):
            self._counters.failed += 1
            self._counters.errors[done.outcome.error.type] += 1
        else:
            self._counters.ok += 1
        self._breaker.record(failed)
        if tripped := self._breaker.tripped:
            self.stop(Stop("breaker", tripped))
        if self._journal.finished >= SEAL_ROWS or self._journal.size >= SEAL_BYTES:
            self._file_full.set()

    async def _seal_full_files(self) -> None:
        while True:
            await self._file_full.wait()
            self._file_full = anyio.Event()
            with anyio.CancelScope(
                shield=True
            ):  # a closed file without its sealed part is found at the next submit
                closed = await self._journal.rotate(Admitted(self._admission.snapshot()))
                await anyio.to_thread.run_sync(self._seal, closed)

    async def _obey_signals(self) -> None:
        """The first signal stops sending; the second gives up the calls under way too."""
        if threading.current_thread() is not threading.main_thread():
            return
        obeyed = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup means to outlive the terminal
            obeyed.append(signal.SIGHUP)
        with anyio.open_signal_receiver(*obeyed) as received:
            told = False
            async for number in received:
                kind: StopKind = "SIGINT" if number == signal.SIGINT else "SIGTERM"
                reason = Stop(kind, f"interrupted by {signal.Signals(number).name}", at_once=told)
                self.stop(reason)
                if told:
                    self._stopped_by = reason
                    self._flights.land_by(anyio.current_time())
                told = True
