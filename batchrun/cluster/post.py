"""What a worker has to tell the driver, gathered until it is collected."""

from __future__ import annotations

import anyio

from batchrun.cluster.messages import Counted, Delivery, FromWorker
from batchrun.summary import Counters

GATHER = 0.005
"""Seconds in which more may come before a delivery leaves: each costs the driver some 0.5 ms."""

_COUNTED = (
    "calls",
    "prompt_tokens",
    "completion_tokens",
    "tool_calls",
    "tool_errors",
    "cost_usd",
    "hedged",
    "recovered",
)


class Post:
    """Messages in their order. `counters` are the worker's own, of which the driver is told what is new."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._told: dict[str, float] = {}
        self._waiting: list[FromWorker] = []
        self._there = anyio.Event()
        self._sent = 0
        self._received = 0
        self._acknowledged: dict[int, anyio.Event] = {}

    def put(self, message: FromWorker) -> None:
        """Tell the driver."""
        self._waiting.append(message)
        self._there.set()

    async def collect(self, received: int, *, patience: float) -> Delivery:
        """What has come since the last time; after `patience` seconds nothing, if nothing has.

        `received` is the number of the last delivery that the driver has worked on.
        """
        self._received = received
        for number in [number for number in self._acknowledged if number <= received]:
            self._acknowledged.pop(number).set()
        with anyio.move_on_after(patience):
            await self._there.wait()
            await anyio.sleep(GATHER)
        messages, self._waiting, self._there = self._waiting, [], anyio.Event()
        if new := self._newly_counted():
            messages.append(Counted(new))
        self._sent += 1
        return Delivery(self._sent, messages)

    async def acknowledged(self) -> None:
        """Return once the driver has worked on what has been put so far."""
        number = self._sent + 1  # with which it leaves
        await self._acknowledged.setdefault(number, anyio.Event()).wait()

    def _newly_counted(self) -> dict[str, float]:
        values = ((name, getattr(self._counters, name)) for name in _COUNTED)
        now = {name: value for name, value in values if value is not None}  # a cost of 0 is one, too
        new = {
            name: value - self._told.get(name, 0)
            for name, value in now.items()
            if value != self._told.get(name, None if name == "cost_usd" else 0)
        }
        self._told |= now
        return new
