"""Calls on any transport of httpx's: its own pool, or a function that a test gives."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

import anyio
import httpx

from batchrun.client.timeouts import Timeouts
from batchrun.client.transport import CallError, LateError, Transport, joined

_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""Errors that come before the first byte; if in doubt, one was sent."""

_STEP = 65_536
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib calls the forms that it reads."""


class HttpxTransport(Transport):
    """Sends requests through `transport`, which gets the connect and idle timeouts of each."""

    def __init__(self, transport: httpx.AsyncBaseTransport, timeouts: Timeouts) -> None:
        self._transport = transport
        self._timeouts = timeouts

    async def send(
        self, url: str, headers: Mapping[str, str], body: bytes, total: float, *, at_once: bool
    ) -> HttpxAnswer:
        """Send the request. Pieces of the answer come whenever `transport` gives them."""
        limits = self._timeouts
        timeout = {"connect": limits.connect, "read": limits.idle, "write": limits.idle}
        late_at = anyio.current_time() + total
        with _translated(late_at):
            request = httpx.Request(
                "POST", url, headers=headers, content=body, extensions={"timeout": timeout}
            )
            return HttpxAnswer(await self._transport.handle_async_request(request), late_at)

    async def aclose(self) -> None:
        """Close the transport and its connections."""
        await self._transport.aclose()


class HttpxAnswer:
    """The answer to one request."""

    def __init__(self, response: httpx.Response, late_at: float) -> None:
        self._response = response
        self._late_at = late_at
        self._chunks = aiter(decoded(response))
        self.status = response.status_code
        raw = [
            (name.decode("latin-1").lower(), text.decode("latin-1")) for name, text in response.headers.raw
        ]
        self.headers = joined(raw)
        if self.headers.get("content-encoding", "").strip().lower() in _WINDOWS:
            del self.headers["content-encoding"]  # as `decoded` undoes it

    def __aiter__(self) -> HttpxAnswer:
        return self

    async def __anext__(self) -> bytes:
        with _translated(self._late_at):
            return await anext(self._chunks)

    async def aclose(self) -> None:
        """Give the connection back to its pool."""
        await self._response.aclose()


@contextmanager
def _translated(late_at: float) -> Iterator[None]:
    """One step of a call, until `late_at` (anyio's time); httpx's errors become ours."""
    try:
        with anyio.CancelScope(deadline=late_at) as scope:
            yield
    except httpx.InvalidURL as error:
        raise CallError(str(error), sent=False) from error
    except httpx.RequestError as error:
        kind = LateError if isinstance(error, httpx.TimeoutException) else CallError
        raise kind(str(error) or type(error).__name__, sent=not isinstance(error, _NOT_SENT)) from error
    if scope.cancelled_caught:
        raise LateError("total timeout")


def decoded(response: httpx.Response) -> AsyncIterable[bytes]:
    """The body's chunks, decompressed where the transport has not done it (RFC 9110, 8.4.1).

    Never more than 64 kB at once: what a small chunk unpacks to is counted before the next step. Raises
    CallError for what is not what it is called.
    """
    if not isinstance(response.stream, httpx.AsyncByteStream):
        return response.aiter_bytes()
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding in _WINDOWS:
        return _inflated(response.stream, _WINDOWS[coding])
    return response.stream


async def _inflated(chunks: AsyncIterable[bytes], window: int) -> AsyncIterator[bytes]:
    inflater = None
    try:
        async for chunk in chunks:
            rest, more = chunk, bool(chunk)
            while more:
                if inflater is None or inflater.eof:  # gzip may follow gzip (RFC 1952, 2.2)
                    inflater = zlib.decompressobj(window)
                piece = inflater.decompress(rest, _STEP)
                yield piece
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                more = bool(rest) or (len(piece) == _STEP and not inflater.eof)
    except zlib.error as error:
        raise CallError(str(error)) from error
    if inflater is not None and not inflater.eof:
        raise CallError("unexpected end of file")
