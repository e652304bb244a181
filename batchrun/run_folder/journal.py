"""The journal: an append-only log of records in numbered files, flushed to disk in groups.

An append is one `write()` to the page cache, which survives the death of the process; an fsync
every `commit_interval` makes it survive a power cut. One owner appends.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from batchrun.clock import Clock
from batchrun.errors import RunFolderError, StorageError
from batchrun.run_folder.records import (
    FORMAT_VERSION,
    Answered,
    Continues,
    DamagedRecordError,
    Done,
    Header,
    Ran,
    Record,
    Sent,
    decode,
    encode,
)

COMMIT_INTERVAL = 0.2
"""Seconds between two fsyncs while records are being appended."""

MAX_UNSYNCED = 1.0
"""Seconds that a record may wait for its fsync before sending pauses."""

_NAME = re.compile(r"journal-(\d{6})\.log")


def journal_files(folder: Path) -> dict[int, Path]:
    """The journal files of a checkpoint by number, oldest first."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return dict(sorted((int(match[1]), path) for match, path in found if match))


@dataclass(frozen=True, slots=True)
class Damage:
    """Lines of a journal file that are no whole records."""

    path: Path
    line: int
    """The first of them, from 1."""
    bytes: int
    is_tail: bool
    """Whether it is an unfinished last line, as a kill or a power cut leaves it."""


class JournalReader:
    """Reads one journal file; `damage` holds what was passed over, once it has been read.

    Raises RunFolderError when the file was written by a newer batchrun.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: list[Damage] = []

    def records(self) -> Iterator[tuple[Record, bytes]]:
        """Each record with its line (newline included), damaged lines passed over."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    record = decode(line.removesuffix(b"\n"))
                except DamagedRecordError:
                    is_tail = not line.endswith(b"\n")
                    self.damage.append(Damage(self.path, number, len(line), is_tail))
                    continue
                if isinstance(record, Header):
                    self._check(record)
                else:
                    # a cut that took the newline alone left a whole record: what is written after it
                    # must not join its line
                    yield record, line if line.endswith(b"\n") else line + b"\n"

    def _check(self, header: Header) -> None:
        if header.version > FORMAT_VERSION:
            raise RunFolderError(
                f"{self.path} was written by a newer batchrun (journal format {header.version}, "
                f"this one reads up to {FORMAT_VERSION})",
                hint="Update batchrun, or use the version that wrote it.",
            )


class Journal:
    """The open journal of a running submit.

    `carried` lines (of unfinished tasks) open the file, so that every file can be read without
    the ones before it.
    """

    def __init__(self, folder: Path, number: int, clock: Clock) -> None:
        self.folder = folder
        self.number = number
        self.finished = 0
        """Rows with an outcome in the current file."""
        self.size = 0
        self._clock = clock
        self._open_tasks: dict[int, list[bytes]] = {}
        self._unsynced_since: float | None = None
        self._syncing_since: float | None = None
        self._synced = anyio.Event()
        self._one_sync = anyio.Lock()
        self._failure: StorageError | None = None
        self._fd = -1
        self._create(number)

    @property
    def path(self) -> Path:
        """The file that is being appended to."""
        return self._path(self.number)

    def _path(self, number: int) -> Path:
        return self.folder / f"journal-{number:06d}.log"

    def append(self, record: Record) -> None:
        """Write one record. Raises StorageError when the disk refuses it; nothing of it is kept then."""
        line = encode(record)
        self._write(line)
        match record:
            case Sent(task=task) | Ran(task=task) | Continues(task=task) | Answered(task=task):
                self._open_tasks.setdefault(task, []).append(line)
            case Done(task=task):
                self._open_tasks.pop(task, None)
                self.finished += 1

    def carry(self, task: int, lines: list[bytes]) -> None:
        """Take over an unfinished task from an earlier file."""
        self._open_tasks.setdefault(task, []).extend(lines)
        self._write(b"".join(lines))

    async def ready(self) -> None:
        """Wait while a record has been unsynced for too long. Raises StorageError when a sync failed."""
        while self._failure is None and self._lag() > MAX_UNSYNCED:
            await self._synced.wait()
        if self._failure:
            raise self._failure

    def _lag(self) -> float:
        since = self._syncing_since if self._syncing_since is not None else self._unsynced_since
        return self._clock.monotonic() - since if since is not None else 0.0

    async def commit_forever(self) -> None:
        """Sync every `COMMIT_INTERVAL` seconds when there is something to sync."""
        while True:
            await self._clock.sleep(COMMIT_INTERVAL)
            await self.sync()

    async def sync(self) -> None:
        """Make all that was appended survive a power cut. A failed fsync is never tried again:
        the kernel may have dropped the pages (the fsyncgate report). Raises StorageError."""
        async with self._one_sync:
            if self._unsynced_since is None:
                return
            self._syncing_since, self._unsynced_since = self._unsynced_since, None
            try:
                await self._fsync(self._fd, self.path)
            finally:
                self._syncing_since = None
                self._synced.set()
                self._synced = anyio.Event()

    async def _fsync(self, fd: int, path: Path) -> None:
        try:
            await anyio.to_thread.run_sync(os.fsync, fd)
        except OSError as error:
            self._failure = storage_error(error, path)
            raise self._failure from error

    async def rotate(self, opening: Callable[[], Record]) -> Path:
        """Start the next file with all unfinished tasks and then `opening`; return the closed file's path.

        Both files are on disk on return.
        """
        async with self._one_sync:  # a sync under way works on the file that is closed here
            closed, closed_fd = self.path, self._fd
            self._create(self.number + 1)
            self._write(
                b"".join(line for lines in self._open_tasks.values() for line in lines) + encode(opening())
            )
            self.finished = 0
            try:
                await self._fsync(closed_fd, closed)
            finally:
                os.close(closed_fd)
        await self.sync()
        return closed

    def close(self) -> None:
        """Close the file; what was appended stays."""
        with suppress(OSError):
            os.fsync(self._fd)
        os.close(self._fd)

    def _create(self, number: int) -> None:
        path = self._path(number)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            sync_folder(self.folder)
        except OSError as error:
            raise storage_error(error, path) from error
        self.number, self._fd, self.size = number, fd, 0
        self._write(encode(Header(FORMAT_VERSION)))

    def _write(self, data: bytes) -> None:
        if self._failure:
            raise self._failure
        try:
            written = os.write(self._fd, data) if data else 0
            if written < len(data):  # a full disk takes a part: what follows must not join it
                os.ftruncate(self._fd, self.size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._failure = storage_error(error, self.path)
            raise self._failure from error
        self.size += written
        if self._unsynced_since is None:
            self._unsynced_since = self._clock.monotonic()


def sync_folder(folder: Path) -> None:
    """Make creations, renames and removals in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def storage_error(error: OSError, path: Path) -> StorageError:
    """The end of a run whose disk refused to write `path`."""
    what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or error
    return StorageError(
        f"cannot write to {path}: {what}",
        hint="Everything received before this is kept. Free some space or mend the disk, then submit again.",
    )
