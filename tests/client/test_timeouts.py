"""The connect, idle and total timeouts, each on its own and in time."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import anyio
import httpx
import pytest

from batchrun.client import Client, Timeouts
from tests.client.servers import (
    Handler,
    Peer,
    answer,
    calling,
    one_call,
    replied,
    serving,
    unanswered,
)

SLACK = 1.5
"""How much later than promised a busy machine may end a call, in seconds."""


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.silence()


async def silent_after_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc")
    await peer.silence()


async def silent_in_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-")
    await peer.silence()


def dripping(count: int, every: float) -> Handler:
    """A server that sends a body of `count` bytes, one `every` seconds."""

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(f"HTTP/1.1 200 OK\r\ncontent-length: {count}\r\n\r\n".encode())
        for _ in range(count):
            await anyio.sleep(every)
            await peer.send(b"x")

    return handler


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address whose connections are neither accepted nor refused: a listener with a full queue."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            waiting.append(one)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        for one in waiting:
            one.close()


@pytest.mark.parametrize("handler", [silent, silent_in_head, silent_after_head])
def test_a_silent_server_ends_by_the_idle_timeout_and_was_sent(handler: Handler) -> None:
    """No byte for `idle` seconds, before the head, in it or in the body: a timeout, possibly paid."""

    async def main() -> None:
        exchange, server = await one_call(handler, Timeouts(connect=5, idle=0.1, total=5))
        lost = unanswered(exchange)
        assert (lost.type, lost.sent) == ("timeout", True)
        assert 0.1 <= lost.latency < 0.1 + SLACK
        assert "not a byte for 0.1 s (idle timeout); the request had been sent" in lost.message
        assert len(server.requests) == 1

    anyio.run(main)


def test_the_idle_timeout_closes_the_connection() -> None:
    """A server that woke up later would find nobody: the connection went with the call."""

    async def main() -> None:
        timeouts = Timeouts(connect=5, idle=0.1, total=5)
        async with serving(silent) as server, calling(server.url, timeouts) as client:
            unanswered(await client.call(b"{}"))
            with anyio.fail_after(1):
                await server.deserted.wait()

    anyio.run(main)


def test_a_server_that_drips_is_not_idle() -> None:
    """Each byte starts the idle time anew: an answer may take many times `idle`."""

    async def main() -> None:
        exchange, _ = await one_call(dripping(7, every=0.06), Timeouts(connect=5, idle=0.3, total=5))
        reply = replied(exchange)
        assert reply.body == b"x" * 7
        assert reply.latency > 0.4

    anyio.run(main)


@pytest.mark.parametrize("handler", [dripping(1000, every=0.02), silent, silent_after_head])
def test_the_total_timeout_ends_any_call(handler: Handler) -> None:
    """However lively or silent the server, no call takes longer than `total`."""

    async def main() -> None:
        exchange, _ = await one_call(handler, Timeouts(connect=5, idle=5, total=0.15))
        lost = unanswered(exchange)
        assert (lost.type, lost.sent) == ("timeout", True)
        assert 0.15 <= lost.latency < 0.15 + SLACK
        assert "no whole answer within 0.15 s (total timeout)" in lost.message

    anyio.run(main)


def test_the_timeouts_do_not_add_up() -> None:
    """connect 0.4, idle 0.4 and total 0.5: a server that drips ends at 0.5, not at 1.3."""

    async def main() -> None:
        exchange, _ = await one_call(dripping(99, every=0.05), Timeouts(connect=0.4, idle=0.4, total=0.5))
        assert 0.5 <= unanswered(exchange).latency < 0.5 + SLACK

    anyio.run(main)


def test_a_connection_that_never_stands_ends_by_the_connect_timeout(black_hole: str) -> None:
    """TCP is not answered: a timeout at `connect` seconds, and certainly unsent."""

    async def main() -> None:
        async with calling(black_hole, Timeouts(connect=0.1, idle=5, total=5)) as client:
            lost = unanswered(await client.call(b"{}"))
        assert (lost.type, lost.sent) == ("timeout", False)
        assert 0.1 <= lost.latency < 0.1 + SLACK
        assert "no connection within 0.1 s; nothing was sent" in lost.message

    anyio.run(main)


def test_a_tls_handshake_that_never_ends_is_part_of_connecting() -> None:
    """The port is open but silent: over https the connect timeout counts, and nothing was sent."""

    async def main() -> None:
        async with serving(Peer.silence) as server:
            url = server.url.replace("http://", "https://")
            async with calling(url, Timeouts(connect=0.1, idle=5, total=5)) as client:
                lost = unanswered(await client.call(b"{}"))
        assert (lost.type, lost.sent) == ("timeout", False)
        assert 0.1 <= lost.latency < 0.1 + SLACK

    anyio.run(main)


@pytest.mark.parametrize(
    "timeouts", [Timeouts(connect=5, idle=5, total=0.1), Timeouts(connect=5, idle=0.1, total=5)]
)
def test_any_timeout_while_connecting_sent_nothing(black_hole: str, timeouts: Timeouts) -> None:
    """The idle and total timeouts count from the call's start, and know that nothing was sent."""

    async def main() -> None:
        async with calling(black_hole, timeouts) as client:
            lost = unanswered(await client.call(b"{}"))
        assert (lost.type, lost.sent) == ("timeout", False)
        assert 0.1 <= lost.latency < 0.1 + SLACK

    anyio.run(main)


def test_a_call_may_have_less_time_than_total() -> None:
    """What is left of the row's time caps the call, and never extends it."""

    async def main() -> None:
        timeouts = Timeouts(connect=5, idle=5, total=0.25)
        async with serving(silent) as server, calling(server.url, timeouts) as client:
            assert 0.1 <= unanswered(await client.call(b"{}", timeout=0.1)).latency < 0.25
            assert 0.25 <= unanswered(await client.call(b"{}", timeout=9)).latency < 0.25 + SLACK

    anyio.run(main)


@pytest.mark.parametrize("timeout", [0, -3.5])
def test_a_call_without_time_is_not_made(timeout: float) -> None:
    """The row's time is used up: nothing is sent, and nothing waits."""

    async def main() -> None:
        async with serving(silent) as server, calling(server.url) as client:
            lost = unanswered(await client.call(b"{}", timeout=timeout))
        assert (lost.type, lost.sent, lost.latency) == ("timeout", False, 0.0)
        assert server.connections == 0

    anyio.run(main)


def test_httpxs_own_transport_keeps_the_same_timeouts(black_hole: str) -> None:
    """Under httpx's pool connect and idle come from the request, total from the client."""

    async def main() -> None:
        async with serving(silent) as server:
            for url, timeouts, sent in (
                (black_hole, Timeouts(connect=0.1, idle=5, total=5), False),
                (server.url, Timeouts(connect=5, idle=0.1, total=5), True),
                (server.url, Timeouts(connect=5, idle=5, total=0.1), True),
            ):
                transport = httpx.AsyncHTTPTransport()
                client = Client(url, headers={}, timeouts=timeouts, transport=transport)
                lost = unanswered(await client.call(b"{}"))
                await client.aclose()
                assert (lost.type, lost.sent) == ("timeout", sent)
                assert 0.1 <= lost.latency < 0.1 + SLACK

    anyio.run(main)


def test_an_early_answer_to_a_long_upload_is_read() -> None:
    """A server that refuses a large body at its head and stops reading is heard, not waited for."""

    async def refusing(peer: Peer) -> None:
        await peer.stream.receive()
        await peer.send(answer(b"too big", status="413 Payload Too Large"))
        await peer.silence()

    async def main() -> None:
        async with serving(refusing) as server, calling(server.url) as client:
            reply = replied(await client.call(b"x" * 3_000_000))
        assert (reply.status, reply.body) == (413, b"too big")

    anyio.run(main)
