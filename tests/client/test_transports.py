"""What carries calls: pyreqwest, unless a transport of httpx's is asked for."""

from __future__ import annotations

import subprocess
import sys

import anyio
import httpx
import pytest

from batchrun.client import Client, Timeouts
from batchrun.client.endpoint import _asks_for_stream  # what the scan must not miss is tested directly
from batchrun.client.over_pyreqwest import _sent, _upload  # so is what tells whether a call may be paid
from batchrun.client.transport import joined
from tests.client.servers import Peer, answer, calling, replied, serving, unanswered

SLACK = 0.5
"""How much later than promised a busy machine may end a call, in seconds."""


def test_the_client_does_not_import_httpx() -> None:
    """It takes longer to import than all the rest of the client, for those alone who give its transports."""
    code = "import sys, batchrun.endpoints.endpoints; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_upload_knows_when_its_bytes_were_asked_for() -> None:
    """Not before, and it gives them once."""
    upload = _upload(b"body")
    assert not _sent(upload)
    assert next(upload) == b"body"
    assert _sent(upload)
    assert next(upload, None) is None
    assert _sent(upload)


@pytest.mark.parametrize("total", [0.2, 1.0])
def test_the_total_timeout_ends_an_upload_that_nobody_reads(total: float) -> None:
    """The body is larger than all buffers, and the server takes none of it: late, and possibly paid."""

    async def deaf(peer: Peer) -> None:
        await anyio.sleep(5)

    async def main() -> None:
        timeouts = Timeouts(connect=5, idle=5, total=total)
        async with serving(deaf) as server, calling(server.url, timeouts) as client:
            lost = unanswered(await client.call(bytes(30_000_000)))
        assert (lost.type, lost.sent) == ("timeout", True)
        assert total <= lost.latency < total + SLACK
        assert "(total timeout)" in lost.message

    anyio.run(main)


@pytest.mark.parametrize("asked", [b"{}", b'{"stream":true}'])
def test_httpxs_own_transport_ends_a_body_that_drips_by_the_total_timeout(asked: bytes) -> None:
    """Its timeouts know of no total: the bytes keep coming."""

    async def dripping(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            await peer.send(b" ")
            await anyio.sleep(0.02)

    async def main() -> None:
        timeouts = Timeouts(connect=5, idle=5, total=0.2)
        async with serving(dripping) as server:
            client = Client(server.url, headers={}, timeouts=timeouts, transport=httpx.AsyncHTTPTransport())
            lost = unanswered(await client.call(asked))
            await client.aclose()
        assert (lost.type, lost.sent) == ("timeout", True)
        assert 0.2 <= lost.latency < 0.2 + SLACK
        assert "(total timeout)" in lost.message

    anyio.run(main)


@pytest.mark.parametrize(
    ("body", "asks"),
    [
        (b'{"stream":true}', True),
        (b'{"model":"m","stream": true,"n":1}', True),
        (b'{"stream":true,"properties":{"stream":{"type":"string"}}}', True),
        (b'{"stream":true,"metadata":{"stream":"false"}}', True),
        (b'{"stream":false}', False),
        (b'{"properties":{"stream":{"type":"string"}}}', False),
        (b'{"content":"\\"stream\\":true"}', False),
        (b'{"stream":', False),
        (b"", False),
    ],
)
def test_a_request_asks_for_a_stream_wherever_it_says_so(body: bytes, asks: bool) -> None:
    """Other members of that name say nothing, and texts do not either."""
    assert _asks_for_stream(body) is asks


@pytest.mark.parametrize(
    ("headers", "plain"),
    [
        ([], {}),
        ([("a", "1"), ("b", "2")], {"a": "1", "b": "2"}),
        ([("a", "1"), ("b", "2"), ("a", "3"), ("a", "")], {"a": "1, 3, ", "b": "2"}),
    ],
)
def test_headers_of_one_name_are_joined(headers: list[tuple[str, str]], plain: dict[str, str]) -> None:
    """In their order."""
    assert joined(headers) == plain


@pytest.mark.parametrize("userinfo", ["", "ann:s3%63ret@", "ann@", ":pass-word@"])
def test_a_user_in_the_address_is_sent_in_no_other_way(userinfo: str) -> None:
    """Not in the request's target or the host, and as Basic authorization only where there is no key."""

    async def answering(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())

    async def main() -> None:
        async with serving(answering) as server:
            url = server.url.replace("http://", f"http://{userinfo}") + "/?version=1"
            async with calling(url) as client:
                replied(await client.call(b"{}"))
        target, *lines = server.requests[0].partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
        assert target == b"post /v1/chat/completions?version=1 http/1.1"
        assert b"host: " + server.url.removeprefix("http://").removesuffix("/v1").encode() in lines
        assert [line[:21] for line in lines if line.startswith(b"auth")] == [b"authorization: bearer"]

    anyio.run(main)
