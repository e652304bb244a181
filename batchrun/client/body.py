"""The body of an answer, read within bounds: how long one may be, and what all of them may hold together."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager

import anyio
import httpx

MAX_BODY = 64_000_000
"""Bytes of one answer that are read, unpacked. The longest known are spoken: 13 minutes as WAV in base64."""

MAX_REFUSAL = 262_144
"""Bytes of an answer that are kept where its status is no success: the reason comes first."""

FREE = 500_000
"""Bytes of each answer that nobody counts: nearly all are shorter."""

TOGETHER = 16_000_000
"""Bytes beyond `FREE` that the answers being read may hold in all, before all but one of them wait."""

_STEP = 65_536
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib calls the forms that it reads."""
_COMPRESSIONS = ("gzip", "deflate", "compress", "br", "zstd")


class TooLongError(httpx.ReadError):
    """An answer beyond all bounds."""


class Share:
    """What one answer holds of the memory for answers."""

    __slots__ = ("_memory", "size")

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self.size = 0

    async def take(self, size: int) -> None:
        """Hold `size` bytes more, once there is room for them."""
        self.size += size
        if self.size > FREE:
            await self._memory.hold(self, size)


class BodyMemory:
    """The memory for answers that are being read, shared by the clients of a run.

    When it is used up, the answer that has been long for the longest time is read on, and the others
    wait, each within its own timeouts. So none waits for one that waits, and a few hostile servers
    cannot fill the memory with the halves of what they send.
    """

    def __init__(self, together: int = TOGETHER) -> None:
        self._together = together
        self._held: dict[Share, int] = {}
        self._changed = anyio.Event()

    @contextmanager
    def share(self) -> Iterator[Share]:
        """The share of one answer, given back with the block."""
        share = Share(self)
        try:
            yield share
        finally:
            if self._held.pop(share, None) is not None:
                self._changed.set()
                self._changed = anyio.Event()

    async def hold(self, share: Share, size: int) -> None:
        """Let `share` hold `size` bytes more, once there is room or it is the first."""
        self._held.setdefault(share, 0)
        while sum(self._held.values()) + size > self._together and next(iter(self._held)) is not share:
            await self._changed.wait()
        self._held[share] += size


async def bounded(
    chunks: AsyncIterable[bytes], share: Share, most: int, request: httpx.Request
) -> AsyncIterator[bytes]:
    """The chunks, up to `most` bytes of them. Raises TooLongError at one more."""
    async for chunk in chunks:
        if share.size + len(chunk) > most:
            raise TooLongError(f"the answer is longer than {most:,} bytes", request=request)
        await share.take(len(chunk))
        yield chunk


async def whole(chunks: AsyncIterable[bytes]) -> bytes:
    """All chunks as one text: put together at their end only, because most that are huge never come to it."""
    return b"".join([chunk async for chunk in chunks])


async def beginning(chunks: AsyncIterable[bytes], most: int = MAX_REFUSAL) -> AsyncIterator[bytes]:
    """The chunks up to `most` bytes; what follows is not read."""
    left = most
    async for chunk in chunks:
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


def decoded(response: httpx.Response, request: httpx.Request) -> AsyncIterable[bytes]:
    """The body's chunks, decompressed where the transport has not done it (RFC 9110, 8.4.1).

    Never more than 64 kB at once: what a small chunk unpacks to is counted before the next step. A name
    that is no compression's says nothing, as some servers write `utf-8` there. Raises
    httpx.DecodingError for what is not what it is called, and for one compression inside another: nobody
    asks for that, and a million bytes of zeros come down to a hundred.
    """
    if not isinstance(response.stream, httpx.AsyncByteStream):
        return response.aiter_bytes()
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding in _WINDOWS:
        return _inflated(response.stream, _WINDOWS[coding], request)
    if any(name in coding for name in _COMPRESSIONS):
        return _refused(coding, request)
    return response.stream


async def _refused(coding: str, request: httpx.Request) -> AsyncIterator[bytes]:
    raise httpx.DecodingError(f"nobody asked for content-encoding: {coding[:40]}", request=request)
    yield b""  # which makes it an iterator


async def _inflated(
    chunks: AsyncIterable[bytes], window: int, request: httpx.Request
) -> AsyncIterator[bytes]:
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
        raise httpx.DecodingError(str(error), request=request) from error
    if inflater is not None and not inflater.eof:
        raise httpx.DecodingError("unexpected end of file", request=request)
