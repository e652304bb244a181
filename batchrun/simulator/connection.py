"""One HTTP/1.1 connection: httptools reads the requests, and the raw transport stays in our hands."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import httptools

MAX_BODY = 64 * 1024 * 1024
"""Bytes of a request's body; a longer one ends the connection with 413."""

MAX_AHEAD = 8
"""Requests that wait on one connection before it is no longer read from."""

PIECE = 1024 * 1024
"""Bytes handed over at a time: the transport copies what the kernel does not take at once."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_LINGER = struct.pack("ii", 1, 0)  # close() then sends RST and drops what is unsent, socket(7)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request, received in full."""

    method: str
    path: str
    """Without the query."""
    query: str
    authorization: str
    content_type: str
    body: bytes
    keep_alive: bool


class UnreadableError(Exception):
    """The bytes are no HTTP/1.1 request that we take; `status` is what to answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Connection(asyncio.Protocol):
    """Gives requests one after another, however far ahead the client sends them.

    `file_bytes` is what a file may have: an upload may be MAX_BODY longer, so that a file that is a little
    too large is refused by who knows of files.
    """

    def __init__(self, on_made: Callable[[Connection], None], file_bytes: int) -> None:
        self._on_made = on_made
        self._file_bytes = file_bytes
        self._parser = httptools.HttpRequestParser(self)
        self._requests: deque[HttpRequest | UnreadableError] = deque()
        self._changed = asyncio.Event()
        self._lost = asyncio.Event()
        self._flushed = asyncio.Event()
        self._begin()

    async def next_request(self) -> HttpRequest | None:
        """The next request, or None when the client has left. Raises UnreadableError."""
        while not self._requests:
            if self.lost:
                return None
            self._changed.clear()
            await self._changed.wait()
        request = self._requests.popleft()
        if not self.lost:
            self._transport.resume_reading()
        if isinstance(request, UnreadableError):
            raise request
        return request

    @property
    def lost(self) -> bool:
        """Whether the connection has ended, from either side."""
        return self._lost.is_set() or self._transport.is_closing()

    async def send(self, data: bytes) -> bool:
        """Hand `data` to the kernel; whether all of it was taken while the connection was open."""
        if self.lost:
            return False
        for start in range(0, len(data), PIECE):
            self._transport.write(memoryview(data)[start : start + PIECE])
            while self._transport.get_write_buffer_size() and not self.lost:
                self._flushed.clear()
                await self._flushed.wait()
            if self.lost:
                return False
        return not self.lost

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until the connection ends."""
        try:
            async with asyncio.timeout(seconds):
                await self._lost.wait()
        except TimeoutError:
            pass

    def reset(self) -> None:
        """End the connection with RST, as a crashed server or a middlebox does."""
        if not self._lost.is_set():
            raw = cast(socket.socket, self._transport.get_extra_info("socket"))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._transport.abort()

    def close(self) -> None:
        """End the connection with FIN."""
        self._transport.close()

    def abort(self) -> None:
        """End the connection at once; bytes that have not left are dropped."""
        self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # With the limit at 0, resume_writing() means that the kernel has every byte.
        self._transport.set_write_buffer_limits(high=0)
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            too_long = self._size > self._most  # httptools wraps what on_body raises
            self._put(_too_long(self._most) if too_long else UnreadableError(400, f"Not HTTP/1.1: {error}"))

    def resume_writing(self) -> None:
        self._flushed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()
        self._flushed.set()
        self._changed.set()

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"authorization":
                self._authorization = value.decode("latin-1")
            case b"content-type":
                self._content_type = value.decode("latin-1")
            case b"expect" if value.lower() == b"100-continue":
                self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._most:
            raise _too_long(self._most)
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body.clear()
        self._put(
            HttpRequest(
                method=self._parser.get_method().decode("ascii"),
                path=self._url.partition(b"?")[0].decode("latin-1"),
                query=self._url.partition(b"?")[2].decode("latin-1"),
                authorization=self._authorization,
                content_type=self._content_type,
                body=body,
                keep_alive=self._parser.should_keep_alive(),
            )
        )

    @property
    def _most(self) -> int:
        """Bytes that the body of this request may have."""
        return MAX_BODY + (self._file_bytes if self._url.endswith(b"/files") else 0)

    def _begin(self) -> None:
        self._url = b""
        self._authorization = self._content_type = ""
        self._body: list[bytes] = []
        self._size = 0

    def _put(self, request: HttpRequest | UnreadableError) -> None:
        self._requests.append(request)
        self._changed.set()
        # Reading goes on while a request is answered: only a reader notices that the client left.
        if len(self._requests) >= MAX_AHEAD:
            self._transport.pause_reading()


def _too_long(most: int) -> UnreadableError:
    return UnreadableError(413, f"The body is longer than {most} bytes.")
