"""The body of an answer, read within bounds: how long one may be, and what all of them may hold together."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable

import anyio

from batchrun.client.transport import CallError, LateError

MAX_BODY = 56_000_000
"""Bytes of one answer that are read, unpacked. The longest known are spoken: 13 minutes as WAV in base64."""

MAX_ERROR_BODY = 262_144
"""Bytes of an answer that are kept where its status is no success: the reason comes first."""

FREE = 250_000
"""Bytes of each answer that nobody counts: nearly all are shorter."""

TOGETHER = 16_000_000
"""Bytes beyond `FREE` that the answers being read may hold in all, before all but one of them wait."""


class TooLongError(CallError):
    """An answer beyond all bounds."""


class Body:
    """The body of one answer, chunk by chunk, and what it holds of the memory for answers.

    It is read up to `most` bytes; `left` gives the seconds that are left of its call. The iteration raises
    TooLongError at one byte more, and LateError when no memory was free in time. What it holds is given back
    by `release`.
    """

    __slots__ = ("_chunks", "_left", "_memory", "_most", "size")

    def __init__(
        self, chunks: AsyncIterable[bytes], memory: BodyMemory, most: int, left: Callable[[], float]
    ) -> None:
        self._chunks = aiter(chunks)
        self._memory = memory
        self._most = most
        self._left = left
        self.size = 0

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._chunks.__anext__()
        await self.take(len(chunk))
        return chunk

    async def take(self, size: int) -> None:
        """Hold `size` bytes more, once there is room for them."""
        if self.size + size > self._most:
            raise TooLongError(f"the answer is longer than {self._most:,} bytes")
        self.size += size
        if self.size > FREE:
            with anyio.move_on_after(self._left()) as waiting:
                await self._memory.hold(self, size)
            if waiting.cancelled_caught:
                raise LateError("no memory for the answer")

    def release(self) -> None:
        """Hold nothing any more."""
        if self.size > FREE:
            self._memory.release(self)


class BodyMemory:
    """The memory for answers that are being read, shared by the clients of a run.

    When it is used up, the answer that has been long for the longest time is read on, and the others
    wait, each within its own timeouts. So none waits for one that waits, and a few hostile servers
    cannot fill the memory with the halves of what they send.
    """

    def __init__(self, together: int = TOGETHER) -> None:
        self._together = together
        self._held: dict[Body, int] = {}
        self._changed = anyio.Event()

    async def hold(self, body: Body, size: int) -> None:
        """Let `body` hold `size` bytes more, once there is room or it is the first."""
        self._held.setdefault(body, 0)
        while sum(self._held.values()) + size > self._together and next(iter(self._held)) is not body:
            await self._changed.wait()
        self._held[body] += size

    def release(self, body: Body) -> None:
        """Let `body` hold nothing, so that others may."""
        if self._held.pop(body, None) is not None:
            self._changed.set()
            self._changed = anyio.Event()


async def whole(chunks: AsyncIterable[bytes]) -> bytes:
    """All chunks as one text: put together at their end only, because most that are huge never come to it."""
    return b"".join([chunk async for chunk in chunks])


async def beginning(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The chunks up to MAX_ERROR_BODY bytes; what follows is not read."""
    left = MAX_ERROR_BODY
    async for chunk in chunks:
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return
