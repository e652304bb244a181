"""The rows that wait for a worker: a bounded buffer between one feeder and the workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import anyio

from batchrun.answer.task import Task


class Supply:
    """Holds less than `room` rows and one chunk, in order.

    Not anyio's stream of objects, which costs a row 30 µs of processor time: rows come in chunks, and a
    worker that finds one takes it without a turn of the event loop.
    """

    def __init__(self, room: int) -> None:
        self._rows: deque[Task] = deque()
        self._room = room
        self._over = False
        self._waiting: deque[anyio.Event] = deque()
        """One for each worker that found no row: a chunk wakes no more of them than it has rows."""
        self._taken = anyio.Event()
        """Of the feeder, while there is no room."""

    @property
    def is_over(self) -> bool:
        """Whether no row waits, and none will come."""
        return self._over and not self._rows

    async def put(self, rows: Sequence[Task]) -> None:
        """Add rows as soon as there is room for any; after a `drop` they stay pending, too."""
        while len(self._rows) >= self._room:
            self._taken = anyio.Event()
            await self._taken.wait()
        if not self._over:
            self._rows.extend(rows)
            self._wake(len(rows))

    def end(self) -> None:
        """No more rows come."""
        self._over = True
        self._wake(len(self._waiting))

    def drop(self) -> None:
        """Those that wait are not to be taken: they stay pending."""
        self._rows.clear()
        self.end()

    async def take(self) -> Task | None:
        """The next row; None when there are no more."""
        while not self._rows:
            if self._over:
                return None
            came = anyio.Event()
            self._waiting.append(came)
            await came.wait()
        row = self._rows.popleft()
        if len(self._rows) == self._room - 1:
            self._taken.set()
        return row

    def _wake(self, workers: int) -> None:
        for _ in range(min(workers, len(self._waiting))):
            self._waiting.popleft().set()
