"""Bodies that come compressed: undone a piece at a time, or refused (RFC 9110, 8.4.1)."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, AsyncIterator, Mapping

from batchrun.client.transport import CallError

STEP = 65_536
"""Bytes that are unpacked at once: what a small chunk unpacks to is counted before the next step."""

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib calls the forms that it reads."""

_COMPRESSIONS = ("gzip", "deflate", "compress", "br", "zstd")


def unpacked(chunks: AsyncIterable[bytes], headers: Mapping[str, str]) -> AsyncIterable[bytes]:
    """The body's chunks, decompressed where `headers` still name a coding: the transport has not done it.

    Iterating raises CallError for what is not what it is called, and for a coding that nobody asked for. One
    compression inside another is such: a million bytes of zeros come down to a hundred. A name that is no
    compression's says nothing, as some servers write `utf-8` there.
    """
    if "content-encoding" not in headers:
        return chunks
    coding = headers["content-encoding"].strip().lower()
    if coding in _WINDOWS:
        return _inflated(chunks, _WINDOWS[coding])
    return _refused(coding) if any(name in coding for name in _COMPRESSIONS) else chunks


async def _refused(coding: str) -> AsyncIterator[bytes]:
    raise CallError(f"nobody asked for content-encoding: {coding[:40]}")
    yield b""  # which makes it an iterator


async def _inflated(chunks: AsyncIterable[bytes], window: int) -> AsyncIterator[bytes]:
    inflater = None
    try:
        async for chunk in chunks:
            rest, more = chunk, bool(chunk)
            while more:
                if inflater is None or inflater.eof:  # gzip may follow gzip (RFC 1952, 2.2)
                    inflater = zlib.decompressobj(window)
                piece = inflater.decompress(rest, STEP)
                yield piece
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                more = bool(rest) or (len(piece) == STEP and not inflater.eof)
    except zlib.error as error:
        raise CallError(str(error)) from error
    if inflater is not None and not inflater.eof:
        raise CallError("unexpected end of file")
