"""A responder in a thread of the benchmark, which notes by its own clock when something was asked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.reliability.responder import Answering


class Noticing(Answering):
    """One connection; `came` takes the time (`time.monotonic`) of all that arrives, the first call first."""

    def __init__(self, came: list[float], opened: list[asyncio.BaseTransport]) -> None:
        self._came = came
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._opened.append(transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._came.append(time.monotonic())
        super().data_received(data)


@contextmanager
def noticing() -> Iterator[tuple[str, list[float]]]:
    """The base URL of such a responder, and the times at which it was sent something."""
    came: list[float] = []
    opened: list[asyncio.BaseTransport] = []
    loop = asyncio.new_event_loop()
    serve = loop.create_server(lambda: Noticing(came, opened), "127.0.0.1", 0, backlog=1024)
    server = loop.run_until_complete(serve)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", came
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for transport in opened:
            transport.close()
        loop.run_until_complete(asyncio.sleep(0))  # a transport lets go of its socket in the next turn
        loop.close()
