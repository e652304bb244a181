"""Serves a simulated endpoint: in this event loop, or until something stops it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from batchrun.simulator.config import SimulatorConfig
from batchrun.simulator.connection import Connection
from batchrun.simulator.endpoint import Simulator
from batchrun.simulator.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Running:
    """A simulator that serves."""

    base_url: str
    """Ends in /v1."""
    ledger: Ledger


@asynccontextmanager
async def serve(
    config: SimulatorConfig, *, host: str = "127.0.0.1", port: int = 0, ledger: Path | None = None
) -> AsyncIterator[Running]:
    """Serve in this event loop until the block is left; port 0 takes a free one.

    Leaving cuts off what is still being answered: such calls have no answer in the ledger. Raises OSError
    when the port is taken or the ledger cannot be written, UsageError where that file is no ledger, and after
    the block what a bug of ours raised.
    """
    book = Ledger(ledger)
    try:
        simulator = Simulator(config, book)
        async with _listening(simulator, config.batches.bytes, host, port) as base_url:
            yield Running(base_url, book)
    finally:
        book.close()


@asynccontextmanager
async def _listening(simulator: Simulator, file_bytes: int, host: str, port: int) -> AsyncIterator[str]:
    tasks: dict[asyncio.Task[None], Connection] = {}
    bugs: list[BaseException] = []

    def ended(task: asyncio.Task[None]) -> None:
        tasks.pop(task)
        if not task.cancelled() and (error := task.exception()):
            bugs.append(error)

    def begin(connection: Connection) -> None:
        task = asyncio.get_running_loop().create_task(simulator.converse(connection))
        tasks[task] = connection
        task.add_done_callback(ended)

    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(begin, file_bytes), host, port, backlog=1024
    )
    try:
        yield f"http://{place(host, server.sockets[0].getsockname()[1])}/v1"
    finally:
        server.close()
        simulator.close()
        for task, connection in tasks.items():
            connection.abort()
            task.cancel()  # not awaited: a cancelled caller could not wait
    if bugs:
        raise bugs[0]


def place(host: str, port: int) -> str:
    """Both as a URL has them: an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def run(
    config: SimulatorConfig,
    host: str = "127.0.0.1",
    port: int = 0,
    ledger: Path | None = None,
    ready: Callable[[str], None] = lambda base_url: None,
) -> None:
    """Serve until SIGINT or SIGTERM; `ready` gets the base URL once connections are taken. Raises OSError."""
    asyncio.run(serve_until(_signalled, config, host, port, ledger, ready))


async def serve_until(
    stopped: Callable[[], Awaitable[None]],
    config: SimulatorConfig,
    host: str,
    port: int,
    ledger: Path | None,
    ready: Callable[[str], None],
) -> None:
    """Serve until `stopped()` returns."""
    async with serve(config, host=host, port=port, ledger=ledger) as running:
        ready(running.base_url)
        await stopped()


async def _signalled() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
