"""Room on the disk: how much a run wants to see free, and a spare file that is given up when there is none.

Two guards, because neither sees everything. Free space is looked at while the run goes, so that sending stops
while the answers under way still fit; but a user's quota does not show there, and another program can fill
the disk between two looks. Then the spare file goes, and what has arrived is stored in its place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio

TO_START = 64_000_000
"""Bytes that must be free before the first call."""

SPARE_NAME = "spare"

SPARE = 8_000_000
"""Bytes of the spare file: about 2,000 answers of 1,000 tokens."""

TO_END = 8_000_000
"""Bytes that the files of an end take whatever the run's size: `run.json`, the log, a small result."""

ANSWER = 4_000
"""Bytes that an answer is assumed to take as long as none has come."""


def free(folder: Path) -> int | None:
    """Bytes that this user may still write where `folder` lies; None where that is not known."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize if found.f_blocks else None


def reserve(*, journal: int, answers: int, under_way: int) -> int:
    """Bytes that stopping now takes: `under_way` answers, and the journal sealed and published.

    journal: bytes of the open journal file, with so many finished `answers`. Answers are given four times
    the mean, and Parquet as much as the journal each time.
    """
    mean = journal // answers if answers else ANSWER
    return TO_END + 2 * journal + 4 * mean * under_way


def too_little(folder: Path, *, free: Callable[[Path], int | None] = free) -> str | None:
    """Why a run in `folder` cannot begin to send, and what to do, where there is too little room.

    `free` gives the bytes that are free, as `free` does.
    """
    room = free(folder)
    if room is None or room >= TO_START:
        return None
    return (
        f"only {megabytes(room)} are free where {folder} lies, and a run needs {megabytes(TO_START)} "
        "to begin\n"
        "  Nothing was sent. Free some space, or give output.path another disk; then submit again."
    )


def megabytes(size: int) -> str:
    """A size in words, rounded down."""
    return f"{size // 100_000 / 10:,.1f} MB"


class Spare:
    """A file that only takes room. `given_up` tells that it is gone: the disk is full."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SPARE_NAME
        self.given_up = anyio.Event()

    def keep(self) -> None:
        """Take the room, as far as there is some: without it the run goes all the same."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError:
            return
        try:
            _fill(fd, SPARE)
        except OSError:
            self.remove()
        finally:
            os.close(fd)

    def give_up(self) -> bool:
        """Free the room; whether there was any."""
        there = self._path.exists()
        self.remove()
        self.given_up.set()
        return there

    def remove(self) -> None:
        """Free the room at the end of a run."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def _fill(fd: int, size: int) -> None:
    if sys.platform == "linux":
        os.posix_fallocate(fd, 0, size)
        return
    left = memoryview(os.urandom(size))  # a file of zeros takes no room on some filesystems
    while left:
        left = left[os.write(fd, left) :]
