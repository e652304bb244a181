"""One row of the input, and the row that stands in for a line which is none."""

from __future__ import annotations

from typing import Any

from batchrun.codec import digest
from batchrun.outcome import Error
from batchrun.value import value

MAX_RAW = 4096
"""Bytes of a bad line that are kept as they are; a longer one is cut and ends in its digest."""


@value(frozen=True, slots=True)
class Row:
    """A row of the input.

    A row whose `error` is set has no values, but for one that names it where that could be read. Its
    `raw` then holds the line's bytes, so that the caller can tell one bad line from another; it is empty
    for every other row.
    """

    index: int
    """Position in the whole input, from 0, over all files; blank lines are no rows."""
    values: dict[str, Any]
    location: str
    """Where the row stands: `tickets.jsonl:17` (line, from 1) or `x.parquet: row 17` (from 1)."""
    error: Error | None = None
    raw: bytes = b""


def bad_row(index: int, location: str, reason: str, raw: bytes) -> Row:
    """The row for a line that cannot be read; the message starts with where it stands."""
    return Row(index, {}, location, Error("bad_row", f"{location}: {reason}"), bounded(raw))


def bounded(raw: bytes) -> bytes:
    """`raw` in at most `MAX_RAW` bytes; different bytes stay different."""
    return raw if len(raw) <= MAX_RAW else abbreviated(raw, digest(raw))


def abbreviated(head: bytes, whole: str) -> bytes:
    """The start of some bytes and the digest of all of them, in `MAX_RAW` bytes."""
    tail = f"… blake2b:{whole}".encode()
    return head[: MAX_RAW - len(tail)] + tail
