"""Workers in this process: the whole of both sides, without Ray between them."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from batchrun.cluster.link import WorkerLostError
from batchrun.cluster.messages import Delivery, FromDriver, NoMoreShards, Setup
from batchrun.cluster.worker import Worker

_T = TypeVar("_T")


class InlineLink:
    """A worker that can be lost. What passes is pickled, as Ray would."""

    def __init__(self, setup: Setup, name: str) -> None:
        self.name = name
        self.worker = Worker(_copied(setup), dict(os.environ))
        self._work = asyncio.ensure_future(self.worker.work())
        self._lost = asyncio.Event()

    async def collect(self, received: int) -> Delivery:
        return _copied(await self._unless_lost(self.worker.collect(received)))

    async def deliver(self, messages: Sequence[FromDriver]) -> None:
        if self._lost.is_set():
            raise WorkerLostError("it is gone")
        self.worker.take(_copied(list(messages)))

    def lose(self) -> None:
        """Its process dies: connections are cut, and what it had not told is gone."""
        self._lost.set()
        self._work.cancel()
        self.worker.take([NoMoreShards()])  # the thread that waits for a range would outlive the test

    def give_up(self) -> None:
        self.lose()

    async def _unless_lost(self, answer: Awaitable[_T]) -> _T:
        waiting = asyncio.ensure_future(answer)
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait([waiting, lost], return_when=asyncio.FIRST_COMPLETED)
            if self._lost.is_set():
                raise WorkerLostError("it is gone")
            return waiting.result()
        finally:
            waiting.cancel()
            lost.cancel()


def _copied(value: _T) -> _T:
    copy: _T = pickle.loads(pickle.dumps(value))
    return copy


@dataclass
class Cluster:
    """What was started; `on_start` is told of each worker, after `before_start`."""

    links: list[InlineLink] = field(default_factory=list)
    setups: list[Setup] = field(default_factory=list)
    on_start: Callable[[InlineLink], None] = lambda _link: None
    before_start: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)

    @contextmanager
    def links_of(self, setup: Setup, **_engine: Any) -> Iterator[Callable[[], Awaitable[InlineLink]]]:
        """In place of `ray_links`."""
        self.setups.append(setup)

        async def hire() -> InlineLink:
            await self.before_start()
            link = InlineLink(setup, f"node {len(self.links) + 1}")
            self.links.append(link)
            self.on_start(link)
            return link

        yield hire
