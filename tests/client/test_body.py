"""The bodies of answers: what is read of them, and what all of them may hold together."""

from __future__ import annotations

import gc
import gzip
import resource
import socket
import weakref
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager, suppress

import anyio
import anyio.lowlevel
import httpx
import pytest

from batchrun.client import Client
from batchrun.client.body import FREE, MAX_BODY, MAX_ERROR_BODY, Body, BodyMemory, TooLongError, whole
from batchrun.client.packed import STEP, unpacked
from batchrun.client.streamed import StreamedAnswer
from batchrun.client.transport import CallError, LateError
from batchrun.outcome import Exchange
from tests.client.servers import (
    RELAXED,
    Peer,
    Server,
    answer,
    calling,
    one_call,
    replied,
    serving,
    unanswered,
)


class Pieces:
    """Bytes in pieces of one size."""

    def __init__(self, data: bytes, size: int) -> None:
        self._pieces = [data[at : at + size] for at in range(0, len(data), size)]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def packed(data: bytes, coding: str, size: int = 1000) -> AsyncIterable[bytes]:
    return unpacked(Pieces(data, size), {"content-encoding": coding})


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", gzip.compress(b"hello" * 50_000)),
        ("X-GZIP", gzip.compress(b"hello" * 50_000)),
        ("gzip", gzip.compress(b"hello" * 20_000) + gzip.compress(b"hello" * 30_000)),
        ("deflate", zlib.compress(b"hello" * 50_000)),
        ("utf-8", b"hello" * 50_000),
        ("identity", b"hello" * 50_000),
    ],
)
def test_what_a_transport_leaves_packed_is_unpacked(coding: str, data: bytes, size: int) -> None:
    """However it is cut, and in whichever case it is called; what is no compression is left alone."""
    if size == 1 and len(data) > 10_000:
        size = 1001

    async def main() -> None:
        pieces = [piece async for piece in packed(data, coding, size)]
        assert b"".join(pieces) == b"hello" * 50_000
        assert "gzip" not in coding.lower() or max(map(len, pieces)) <= STEP

    anyio.run(main)


@pytest.mark.parametrize(
    ("coding", "data", "said"),
    [
        ("gzip", b"hello", "incorrect header"),
        ("gzip", gzip.compress(b"hello" * 1000)[:-8], "unexpected end of file"),
    ],
    ids=["no gzip", "cut"],
)
def test_what_is_not_what_it_is_called_is_no_answer(coding: str, data: bytes, said: str) -> None:
    """It ends as an error."""

    async def main() -> None:
        with pytest.raises(CallError, match=said):
            await whole(packed(data, coding))

    anyio.run(main)


async def called(server: Server, *, over_httpx: bool) -> Exchange:
    if not over_httpx:
        async with calling(server.url) as client:
            return await client.call(b"{}")
    client = Client(server.url, headers={}, timeouts=RELAXED, transport=httpx.AsyncHTTPTransport())
    try:
        return await client.call(b"{}")
    finally:
        await client.aclose()


@pytest.mark.parametrize("coding", ["gzip", "GZip", "X-GZIP"])
@pytest.mark.parametrize("over_httpx", [False, True])
def test_a_coding_is_undone_under_each_of_its_names(coding: str, over_httpx: bool) -> None:
    """They are the same in whichever case, and `x-gzip` is gzip (RFC 9110, 8.4.1.3), by either transport."""

    async def zipped(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(gzip.compress(b"hello"), headers=f"content-encoding: {coding}\r\n"))

    async def main() -> None:
        async with serving(zipped) as server:
            assert replied(await called(server, over_httpx=over_httpx)).body == b"hello"

    anyio.run(main)


@pytest.mark.parametrize("coding", ["gzip, gzip", "compress", "GZIP;q=1"])
@pytest.mark.parametrize("over_httpx", [False, True])
def test_a_coding_that_no_transport_undoes_is_refused(coding: str, over_httpx: bool) -> None:
    """Where a compression is inside another, or nobody knows it, the call has no answer."""

    async def twice(peer: Peer) -> None:
        await peer.request()
        body = gzip.compress(gzip.compress(b"hello"))
        await peer.send(answer(body, headers=f"content-encoding: {coding}\r\n"))

    async def main() -> None:
        async with serving(twice) as server:
            lost = unanswered(await called(server, over_httpx=over_httpx))
            assert f"nobody asked for content-encoding: {coding.lower()}" in lost.message

    anyio.run(main)


def test_a_bomb_is_counted_while_it_is_unpacked() -> None:
    """A hundred megabytes in one chunk of a thousandth: only what the bound allows is ever unpacked."""
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(10_000_000)) for _ in range(10)) + packer.flush()

    async def main() -> None:
        body = Body(packed(bomb, "gzip", len(bomb)), BodyMemory(), 500_000, lambda: 5)
        with pytest.raises(TooLongError, match="longer than 500,000 bytes"):
            await whole(body)
        assert 500_000 - STEP < body.size <= 500_000

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    anyio.run(main)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


@contextmanager
def reading(memory: BodyMemory, left: float = 60) -> Iterator[Body]:
    """An answer that is being read, with `left` seconds for it."""
    body = Body(Pieces(b"", 1), memory, MAX_BODY, lambda: left)
    try:
        yield body
    finally:
        body.release()


def test_long_answers_wait_for_each_other_and_none_for_ever() -> None:
    """With room for one and a half: never more is held than that and the first one, and all are read."""
    size, together = 4 * FREE, 4 * FREE
    most = held = 0

    async def main() -> None:
        memory = BodyMemory(together)

        async def read() -> None:
            nonlocal most, held
            mine = 0
            with reading(memory) as body:
                for _ in range(size // STEP):
                    await body.take(STEP)
                    mine += STEP
                    held += STEP
                    most = max(most, held)
                    await anyio.lowlevel.checkpoint()
            held -= mine

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(read)

    anyio.run(main)
    assert most <= together + size + 8 * FREE
    assert most < 8 * size - STEP


def test_a_short_answer_never_waits() -> None:
    """Whatever the long ones hold."""

    async def main() -> None:
        memory = BodyMemory(0)
        with reading(memory) as long, reading(memory) as short, anyio.fail_after(1):
            await long.take(10 * FREE)
            await short.take(FREE)

    anyio.run(main)


def test_a_long_answer_waits_for_memory_within_its_own_time() -> None:
    """No timeout of the connection ends it: it has its bytes already."""

    async def main() -> None:
        memory = BodyMemory(0)
        with reading(memory) as first, reading(memory, left=0.05) as second, anyio.fail_after(1):
            await first.take(2 * FREE)
            with pytest.raises(LateError):
                await second.take(2 * FREE)

    anyio.run(main)


def test_what_is_read_of_a_stream_is_freed_with_its_call() -> None:
    """Not when cycles are next collected: a hundred megabytes would wait for that."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'

    async def main() -> None:
        streamed = StreamedAnswer(lambda: 0.0)
        with pytest.raises(CallError):
            await streamed.read(pieces())

        gone = weakref.ref(streamed)
        gc.disable()
        try:
            del streamed
            assert gone() is None
        finally:
            gc.enable()

    anyio.run(main)


def test_of_a_refusal_only_the_beginning_is_read() -> None:
    """A proxy's page of megabytes, or an endless one: the status counts, and its first words."""

    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 503 Busy\r\n\r\nso sorry")
        while True:
            await peer.send(b"x" * STEP)

    async def main() -> None:
        reply = replied((await one_call(endless))[0])
        assert (reply.status, len(reply.body)) == (503, MAX_ERROR_BODY)
        assert reply.body.startswith(b"so sorry")

    anyio.run(main)


@pytest.mark.parametrize("later", [0.0, 0.005])
def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_calls(later: float) -> None:
    """Two answers to one request, together or one soon after the other: the next call has its own."""

    async def chatty(peer: Peer) -> None:
        while True:
            await peer.request()
            own = answer(b"%d" % len(peer.server.requests))
            if later:
                await peer.send(own)
                await anyio.sleep(later)
            await peer.send(answer(b"another's") if later else own + answer(b"another's"))

    async def main() -> None:
        async with serving(chatty) as server, calling(server.url) as client:
            for number in range(1, 10):
                assert replied(await client.call(b"{}")).body == b"%d" % number
                await anyio.sleep(4 * later)

    anyio.run(main)


@contextmanager
def no_file_handle_left() -> Iterator[None]:
    """All that the process may have are taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[socket.socket] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(socket.socket())
        yield
    finally:
        for one in taken:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_file_handle_left_is_a_lost_connection_with_a_hint() -> None:
    """Nothing was sent; the message says what to raise or lower."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            async with calling(f"http://127.0.0.1:{server.getsockname()[1]}/v1") as client:
                with no_file_handle_left():
                    lost = unanswered(await client.call(b"{}"))
        assert (lost.type, lost.sent) == ("connection", False)
        assert "raise `ulimit -n`, or lower the endpoint's limits.concurrency" in lost.message

    anyio.run(main)
