"""An answer that comes as server-sent events, read to the document it stands for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import anyio

from batchrun.chat.response.stream import Accumulator
from batchrun.client.body import TooLongError
from batchrun.client.transport import CallError

_GRACE = 0.5
"""Seconds that a server has to end a stream after `[DONE]`, so that its connection can be used again."""

_LONG_LINE = 1_000_000
"""Bytes of a line whose end was lost with the connection: as many are the answer cut, and not its end."""

_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""What an event stream begins with (WHATWG HTML, 9.2.6), and no JSON document does."""

_BLANK = b" \t\r\n\xef\xbb\xbf"
"""What may stand before it: blanks, and the bytes of a byte order mark."""


async def event_stream(
    status: int, headers: Mapping[str, str], chunks: AsyncIterator[bytes], *, asked: bool
) -> tuple[bool, AsyncIterator[bytes]]:
    """Whether an answer is a stream of chunks, and its body from the first byte on.

    Errors are none, whatever was asked for. Where a stream was, a proxy or server may still label it
    otherwise, or not at all: then the first bytes tell.
    """
    if not 200 <= status < 300:
        return False, chunks
    if headers.get("content-type", "").partition(";")[0].strip().lower() == "text/event-stream":
        return True, chunks
    if not asked:
        return False, chunks
    streams, held = await _sniffed(chunks)
    return streams, _from_the_start(held, chunks)


async def _sniffed(chunks: AsyncIterator[bytes]) -> tuple[bool, Sequence[bytes]]:
    """Whether an event stream begins here, and what was read to tell: without the blanks if so."""
    held: list[bytes] = []
    head = b""
    async for chunk in chunks:
        held.append(chunk)
        head = (head + chunk).lstrip(_BLANK)
        if head.startswith(_FIELDS):
            return True, [head]
        if not any(field.startswith(head) for field in _FIELDS):
            break
    return False, held


async def _from_the_start(held: Sequence[bytes], chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in held:
        yield chunk
    async for chunk in chunks:
        yield chunk


class StreamedAnswer:
    """Reads one stream. `started` and `ended` are times of `clock`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.started: float | None = None
        """When the first piece of the answer had come, if any."""
        self.ended = 0.0
        """When the last event had come."""
        self._clock = clock
        self._accumulator = Accumulator()
        self._cut = 0

    async def read(self, chunks: AsyncIterator[bytes]) -> bytes:
        """The whole answer as a document.

        Raises CallError, which says how much had come, when the stream ends, or its connection, before the
        answer is whole. A connection lost after that costs nothing.
        """
        try:
            await self._accumulate(chunks)
        except CallError as error:
            error.arrived = self._accumulator.arrived
            raise
        if self._accumulator.done:
            await self._drain(chunks)
        return self._accumulator.document()

    async def _accumulate(self, chunks: AsyncIterator[bytes]) -> None:
        accumulator = self._accumulator
        try:
            async for chunk in chunks:
                accumulator.feed(chunk)
                newline = chunk.rfind(b"\n")
                self._cut = self._cut + len(chunk) if newline < 0 else len(chunk) - newline - 1
                if self.started is None and accumulator.started:
                    self.started = self._clock()
                if accumulator.done:
                    break
        except CallError as error:
            if isinstance(error, TooLongError) or self._cut > _LONG_LINE:
                raise
            accumulator.end()
            if not accumulator.finished:
                raise
        accumulator.end()
        self.ended = self._clock()
        if not accumulator.finished:
            raise CallError("the stream ended before the answer was whole")

    async def _drain(self, chunks: AsyncIterator[bytes]) -> None:
        """Read what follows `[DONE]`, so that the connection can be kept; it holds nothing more."""
        with anyio.move_on_after(_GRACE):
            try:
                async for _ in chunks:
                    pass
            except CallError:
                pass  # the answer is whole: whatever becomes of the connection
