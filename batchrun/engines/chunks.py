"""Rows some at a time: what reads and renders them does so in a thread, beside the calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import TypeVar

import anyio.to_thread

_T = TypeVar("_T")

CHUNK = 64
"""Rows rendered at a time."""


def in_chunks(rows: Iterator[_T]) -> Iterator[list[_T]]:
    """Rows, some at a time."""
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


async def in_thread(chunks: Iterator[list[_T]]) -> AsyncIterator[list[_T]]:
    """Each of `chunks`, made in a thread when it is asked for. Raises what making it raises."""
    nothing: list[_T] = []
    while chunk := await anyio.to_thread.run_sync(next, chunks, nothing):
        yield chunk
