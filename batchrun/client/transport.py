"""httpx's transport interface on pyreqwest's native API.

pyreqwest's own httpx adapter is not used: it adds up the timeouts, calls a silent server a
connect timeout although the request was sent, and leaves cancellations that anyio's scopes
do not recognise as theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, MutableMapping
from datetime import timedelta
from typing import Any, TypeVar

import anyio.lowlevel
import httpx
from pyreqwest import exceptions
from pyreqwest.client import Client as Connections
from pyreqwest.http import HeaderMap
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response, ResponseBodyReader

SENT = "batchrun.sent"
"""The request extension a transport may keep up to date: False until the first byte can have left."""

AT_ONCE = "batchrun.at_once"
"""The request extension that asks for each piece of the answer as it comes.

pyreqwest otherwise waits for the first 64 kB or the answer's end, which saves whole answers 22 µs of
processor time each, and would make streams one piece.
"""

TRANSLATIONS: dict[type[exceptions.PyreqwestError], type[httpx.RequestError]] = {
    exceptions.PyreqwestError: httpx.TransportError,
    exceptions.DetailedPyreqwestError: httpx.TransportError,
    exceptions.RequestError: httpx.TransportError,
    exceptions.StatusError: httpx.RemoteProtocolError,
    exceptions.RedirectError: httpx.TooManyRedirects,
    exceptions.DecodeError: httpx.RemoteProtocolError,
    exceptions.BodyDecodeError: httpx.DecodingError,
    exceptions.JSONDecodeError: httpx.DecodingError,
    exceptions.TransportError: httpx.ReadError,
    exceptions.RequestTimeoutError: httpx.ReadTimeout,
    exceptions.NetworkError: httpx.ReadError,
    exceptions.ConnectTimeoutError: httpx.ReadTimeout,  # what it calls any timeout before the headers
    exceptions.ReadTimeoutError: httpx.ReadTimeout,
    exceptions.WriteTimeoutError: httpx.WriteTimeout,
    exceptions.PoolTimeoutError: httpx.PoolTimeout,
    exceptions.ConnectError: httpx.ReadError,  # what it calls any connection lost before the headers
    exceptions.ReadError: httpx.ReadError,
    exceptions.WriteError: httpx.WriteError,
    exceptions.ClientClosedError: httpx.CloseError,
    exceptions.BuilderError: httpx.LocalProtocolError,
    exceptions.RequestPanicError: httpx.TransportError,
}
"""What each error means once the request was on its way."""

BEFORE_SENDING: dict[type[httpx.RequestError], type[httpx.RequestError]] = {
    httpx.ReadTimeout: httpx.ConnectTimeout,
    httpx.ReadError: httpx.ConnectError,
}
"""What it means when nothing had been sent."""

_T = TypeVar("_T")


class PyreqwestTransport(httpx.AsyncBaseTransport):
    """Sends requests through pyreqwest's connection pool.

    Honours `AT_ONCE` and `extensions["timeout"]["total"]` (seconds, to the body's end); connect and idle
    timeouts, proxies and certificates are the pool's (`build_transport`). Keeps `SENT` in the
    request's extensions. Errors are httpx's. A body arrives decompressed, without the
    `content-encoding` header.

    A cancelled call ends at once, but pyreqwest (0.15) drops its connection only when the
    total timeout ends it, or the body is already being read: the server may go on working.
    Until the head is there the request is a task of its own in pyreqwest's runtime, which nothing
    aborts: not the request's end or deletion, and not the closing of its whole pool.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; return when the headers and the first of the body are there."""
        body = await request.aread()
        request.extensions[SENT] = False
        try:
            call = self._prepare(request, body)
        except ValueError as error:  # an address or header that httpx's types let through
            raise httpx.LocalProtocolError(str(error), request=request) from error
        response: Response = await _translated(call.__aenter__(), request)
        return httpx.Response(
            response.status,
            headers=_headers(response.headers),
            stream=_Body(call, response.body_reader, request),
        )

    def _prepare(self, request: httpx.Request, body: bytes) -> StreamRequest:
        builder = self._connections.request(request.method, str(request.url))
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        builder = builder.headers(headers).body_stream(_once(body, request.extensions))
        if request.extensions.get(AT_ONCE):
            builder = builder.streamed_read_buffer_limit(0)
        total = request.extensions.get("timeout", {}).get("total")
        return (builder if total is None else builder.timeout(timedelta(seconds=total))).build_streamed()

    async def aclose(self) -> None:
        await self._connections.close()


def _headers(received: HeaderMap) -> list[tuple[str, str]]:
    """The headers in order; one with bytes outside ASCII, which pyreqwest cannot give us, is left out."""
    try:
        return list(received.items())
    except ValueError:
        return [(name, value) for name in dict.fromkeys(received) for value in _values(received, name)]


def _values(received: HeaderMap, name: str) -> list[str]:
    try:
        return received.getall(name)
    except ValueError:
        return []


def _once(body: bytes, extensions: MutableMapping[str, Any]) -> Iterator[bytes]:
    """The body as a stream, because a stream is asked for its bytes only when a connection stands.

    So it tells whether the request was sent, which no error of pyreqwest's does; and it cannot
    be replayed, so that nothing below us sends it a second time.
    """
    extensions[SENT] = True
    yield body


class _Body(httpx.AsyncByteStream):
    """The answer's body, chunk by chunk, closed with its connection when not read to the end."""

    def __init__(self, call: StreamRequest, reader: ResponseBodyReader, request: httpx.Request) -> None:
        self._call = call
        self._reader = reader
        self._request = request

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        chunk = await _translated(self._reader.read_chunk(), self._request)
        if chunk is None:
            raise StopAsyncIteration
        return chunk.to_bytes()

    async def aclose(self) -> None:
        await self._call.__aexit__(None, None, None)


async def _translated(step: Awaitable[_T], request: httpx.Request) -> _T:
    """Await one step of pyreqwest's; its errors become httpx's, its cancellations anyio's."""
    try:
        return await step
    except exceptions.PyreqwestError as error:
        raise translate(error, request) from error
    except asyncio.CancelledError:
        # pyreqwest answers a cancellation with a CancelledError of its own. A cancelled anyio scope
        # lets only the one it sent end there, so let it send it again; a task's own is re-raised.
        await anyio.lowlevel.checkpoint_if_cancelled()
        raise


def translate(error: exceptions.PyreqwestError, request: httpx.Request) -> httpx.RequestError:
    """The httpx error that says the same, with the innermost cause as its message."""
    kind = next(TRANSLATIONS[base] for base in type(error).__mro__ if base in TRANSLATIONS)
    if not request.extensions.get(SENT, True):
        kind = BEFORE_SENDING.get(kind, kind)
    return kind(_reason(error), request=request)


def _reason(error: exceptions.PyreqwestError) -> str:
    """The innermost cause: the outer ones only repeat the URL."""
    causes = (getattr(error, "details", None) or {}).get("causes") or []
    if len(causes) < 2:
        return error.message
    return str(causes[-1]["message"])
