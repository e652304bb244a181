"""Replicas on real sockets: one dies, one restarts, and the rows of a run do not notice."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from batchrun.client import Client, ReplicaSet, build_transport
from batchrun.outcome import Exchange, NoResponse, Response
from batchrun.simulator.ledger import Call, read_ledger
from tests.client.servers import RELAXED, Peer, Server, answer, answering, serving
from tests.runs import JobFolder, write_rows


@asynccontextmanager
async def replicas(
    *urls: str, told: list[str] | None = None, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[ReplicaSet]:
    def client(url: str) -> Client:
        transport = build_transport(RELAXED, max_connections=8)
        return Client(url, headers={}, timeouts=RELAXED, transport=transport)

    said = [] if told is None else told
    several = ReplicaSet({url: client(url) for url in urls}, say=said.append, clock=clock)
    try:
        yield several
    finally:
        await several.aclose()


def unused() -> str:
    """The URL of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


async def statuses(several: ReplicaSet, calls: int) -> list[int | str]:
    """Calls one after the other: their statuses, or what they ended with."""
    exchanges: list[Exchange] = [await several.call(b"{}") for _ in range(calls)]
    return [one.status if isinstance(one, Response) else one.type for one in exchanges]


def test_calls_go_round_three_servers() -> None:
    """Each gets a third."""

    async def main() -> None:
        async with AsyncExitStack() as stack:
            servers: list[Server] = [await stack.enter_async_context(serving(answering)) for _ in range(3)]
            several = await stack.enter_async_context(replicas(*(server.url for server in servers)))
            assert await statuses(several, 9) == [200] * 9
            assert [len(server.requests) for server in servers] == [3, 3, 3]

    anyio.run(main)


def test_a_refused_call_is_its_rows_attempt_and_the_next_goes_elsewhere() -> None:
    """Nothing is repeated unseen, and the message names the server that is down."""

    async def main() -> None:
        down = unused()
        async with serving(answering) as server, replicas(down, server.url) as several:
            exchange = await several.call(b"{}")
            assert isinstance(exchange, NoResponse)
            assert down in exchange.message
            assert await statuses(several, 5) == [200] * 5

    anyio.run(main)


@pytest.mark.parametrize(("status", "left_out"), [("503 X", True), ("502 X", True), ("429 X", False)])
def test_a_server_that_restarts_is_left_out_and_a_busy_one_is_not(status: str, left_out: bool) -> None:
    """503 and 502 three times in a row; a 429 is about the pace."""

    async def failing(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(status=status))

    async def main() -> None:
        async with AsyncExitStack() as stack:
            bad, good = [await stack.enter_async_context(serving(one)) for one in (failing, answering)]
            several = await stack.enter_async_context(replicas(bad.url, good.url))
            await statuses(several, 20)
            assert len(bad.requests) == (3 if left_out else 10)

    anyio.run(main)


def test_a_call_without_time_says_nothing_about_a_server() -> None:
    """A row whose time is up does not put a replica aside."""

    async def main() -> None:
        async with AsyncExitStack() as stack:
            one, two = [await stack.enter_async_context(serving(answering)) for _ in range(2)]
            several = await stack.enter_async_context(replicas(one.url, two.url))
            for _ in range(9):
                await several.call(b"{}", timeout=0)
            await statuses(several, 4)
            assert (len(one.requests), len(two.requests)) == (2, 2)

    anyio.run(main)


def test_a_replica_that_stays_down_is_named_and_so_is_its_return() -> None:
    """One line when it has been down for three seconds, one when it serves again."""

    async def main() -> None:
        now = 0.0
        told: list[str] = []
        broken = True

        async def wavering(peer: Peer) -> None:
            while True:
                await peer.request()
                await peer.send(answer(status="503 X" if broken else "200 OK"))

        async with AsyncExitStack() as stack:
            bad, good = [await stack.enter_async_context(serving(one)) for one in (wavering, answering)]
            several = await stack.enter_async_context(
                replicas(bad.url, good.url, told=told, clock=lambda: now)
            )
            await statuses(several, 6)
            for _ in range(4):
                now += 60
                await statuses(several, 3)
            broken, now = False, now + 60
            await statuses(several, 3)
        assert told == [
            f"{bad.url} is left out, and tried again now and then: it answers 503. 1 of 2 replicas serve",
            f"{bad.url} serves again",
        ]

    anyio.run(main)


class Simulator:
    """A simulator on a port of its own, which can be killed and started again."""

    def __init__(self, folder: Path, name: str) -> None:
        self.ledger = folder / f"{name}.jsonl"
        self.url = ""
        self.start()

    def start(self) -> None:
        port = self.url.removesuffix("/v1").rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "batchrun", "simulate", "--json", "--latency", "0.03"]
        self.process = subprocess.Popen(
            [*command, "--port", port, "--ledger", str(self.ledger)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["base_url"]
        self.process.stdout.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def calls(self) -> list[Call]:
        return read_ledger(self.ledger) if self.ledger.exists() else []


@pytest.mark.long
def test_a_run_over_three_simulators_outlives_the_death_of_one(tmp_path: Path) -> None:
    """All rows are ok, the load is even before, and the killed one is used again once it is back."""
    rows, job = 1800, JobFolder(tmp_path)
    write_rows(job.rows, rows)
    simulators = [Simulator(tmp_path, name) for name in "abc"]

    def kill_and_restart() -> None:
        while len(simulators[1].calls()) < 100:
            time.sleep(0.02)
        simulators[1].kill()
        simulators[1].ledger = tmp_path / "again.jsonl"
        simulators[1].start()

    try:
        endpoint = {"base_url": [one.url for one in simulators], "limits": {"concurrency": 12}}
        retry = {"backoff": {"initial": 0.05, "max": 0.2}}
        job.write("", endpoints={"local": endpoint}, retry=retry)
        killer = threading.Thread(target=kill_and_restart)
        killer.start()
        summary = job.submit_here()
        killer.join()
        a, again, c = (simulator.calls() for simulator in simulators)
    finally:
        for simulator in simulators:
            simulator.kill()
    assert (summary.ok, summary.failed) == (rows, 0)
    b = [call.at for call in read_ledger(tmp_path / "b.jsonl")]
    before = [len(b), *(sum(call.at <= b[-1] for call in one) for one in (a, c))]
    assert max(before) - min(before) <= 12, before
    assert len(again) > 50
    assert abs(len(a) - len(c)) <= 0.1 * len(a)
