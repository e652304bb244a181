"""Raw servers on loopback: each test says byte by byte what its server does."""

from __future__ import annotations

import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import anyio
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

from batchrun.client import Client, Timeouts, build_transport
from batchrun.outcome import Exchange, NoResponse, Response

_TLS_FOLDER = tempfile.TemporaryDirectory()
TLS = Path(_TLS_FOLDER.name)
"""`authority.pem`, made anew for each run of the tests, and the certificate it issued for localhost."""

_AUTHORITY = trustme.CA()
_AUTHORITY.cert_pem.write_to_path(TLS / "authority.pem")
_ISSUED = _AUTHORITY.issue_cert("localhost")
_ISSUED.cert_chain_pems[0].write_to_path(TLS / "localhost.pem")

KEY = "sk-canary-1234567890"
RELAXED = Timeouts(connect=5, idle=5, total=5)
ANSWER = b'{"choices": []}'


def answer(body: bytes = ANSWER, *, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole HTTP answer with a content-length."""
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


@dataclass
class Server:
    """What a server saw: one entry a request, head and body together."""

    url: str
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    deserted: anyio.Event = field(default_factory=anyio.Event)
    """Set when a client went away before its connection's handler was done."""


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: ByteStream, server: Server) -> None:
        self.stream = stream
        self.server = server
        self._buffered = BufferedByteReceiveStream(stream)

    async def request(self) -> bytes:
        """Read one request to the last byte of its body, and note it."""
        head = await self._buffered.receive_until(b"\r\n\r\n", 65536)
        lengths = (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        length = next(lengths, 0)
        request = head + b"\r\n\r\n" + (await self._buffered.receive_exactly(length) if length else b"")
        self.server.requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def silence(self) -> None:
        """Say nothing until the client goes away."""
        while True:
            await self.stream.receive()

    async def reset(self) -> None:
        """Close with an RST instead of a FIN."""
        raw = self.stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.stream.aclose()


Handler: TypeAlias = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, *, tls: bool = False) -> AsyncIterator[Server]:
    """Serve every connection with `handler`, which may end by the client's going away."""
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = tcp.extra(SocketAttribute.local_port)
    server = Server(f"https://localhost:{port}/v1" if tls else f"http://127.0.0.1:{port}/v1")

    async def handle(stream: ByteStream) -> None:
        server.connections += 1
        async with stream:
            try:
                await handler(Peer(stream, server))
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                server.deserted.set()
            except anyio.ClosedResourceError:
                pass  # the handler reset it

    listener = TLSListener(tcp, _server_context(), standard_compatible=False) if tls else tcp
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield server
        tasks.cancel_scope.cancel()


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _ISSUED.configure_cert(context)
    return context


@asynccontextmanager
async def calling(
    url: str,
    timeouts: Timeouts = RELAXED,
    *,
    proxy: str | None = None,
    ca_file: Path | None = None,
    max_body: int = 1_000_000,
) -> AsyncIterator[Client]:
    """A client of `url` over our own transport, with `KEY` as its key."""
    transport = build_transport(timeouts, proxy=proxy, ca_file=ca_file, max_connections=8)
    headers = {"Authorization": f"Bearer {KEY}"}
    client = Client(url, headers=headers, timeouts=timeouts, transport=transport, max_body=max_body)
    try:
        yield client
    finally:
        await client.aclose()


async def one_call(handler: Handler, timeouts: Timeouts = RELAXED) -> tuple[Exchange, Server]:
    """One call to a server of its own."""
    async with serving(handler) as server, calling(server.url, timeouts) as client:
        return await client.call(b"{}"), server


def replied(exchange: Exchange) -> Response:
    assert isinstance(exchange, Response), exchange
    return exchange


def unanswered(exchange: Exchange) -> NoResponse:
    assert isinstance(exchange, NoResponse), exchange
    assert KEY not in exchange.message
    return exchange


async def answering(peer: Peer) -> None:
    """Answer every request of a connection."""
    while True:
        await peer.request()
        await peer.send(answer())


def sending(*pieces: bytes, reset: bool = False) -> Handler:
    """A server that reads one request, sends `pieces` and closes, or resets."""

    async def handler(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            await peer.send(piece)
        if reset:
            await anyio.sleep(0.02)  # so that the client has read them when it comes
            await peer.reset()

    return handler
