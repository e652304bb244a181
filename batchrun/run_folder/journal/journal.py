"""The journal: an append-only log of records in numbered files, flushed to disk in groups.

An append is one `write()` to the page cache, which survives the death of the process; an fsync
every `commit_interval` makes it survive a power cut. One owner appends.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread

from batchrun.clock import Clock
from batchrun.errors import RunFolderLostError, StorageError
from batchrun.run_folder.disk import is_full, storage_error, sync_folder
from batchrun.run_folder.journal.format_version import FORMAT_VERSION
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.records import Admitted, Answered, Continues, Done, Header, Ran, Record, Sent

COMMIT_INTERVAL = 0.2
"""Seconds between two fsyncs while records are being appended."""

MAX_UNSYNCED = 1.0
"""Seconds that a record may wait for its fsync before sending pauses."""


class Recorder(Protocol):
    """What an engine needs of a journal, wherever its records end up; `Journal` says what each is."""

    failure: StorageError | None
    finished: int
    size: int

    def append(self, record: Record) -> None: ...

    async def begin(self, sent: Sent) -> None: ...

    def carry(self, task: int, lines: list[bytes]) -> None: ...

    async def ready(self) -> None: ...

    async def commit_forever(self) -> None: ...

    async def rotate(self, opening: Callable[[], Record]) -> Path: ...


class Journal:
    """The open journal of a running submit.

    `carried` lines (of unfinished tasks) open the file, so that every file can be read without
    the ones before it. `make_room` is called when the disk is full: when it says that it has freed some,
    the record is written after all.
    """

    def __init__(
        self, folder: Path, number: int, clock: Clock, *, make_room: Callable[[], bool] | None = None
    ) -> None:
        self.folder = folder
        self.number = number
        self.failure: StorageError | None = None
        """Why nothing may be appended any more."""
        self.finished = 0
        """Rows with an outcome in the current file."""
        self.size = 0
        self._clock = clock
        self._open_tasks: dict[int, list[bytes]] = {}
        self._unsynced_since: float | None = None
        self._syncing_since: float | None = None
        self._synced = anyio.Event()
        self._one_sync = anyio.Lock()
        self._make_room = make_room
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
        match record:
            case Sent() | Answered() | Ran() | Continues() | Done():
                self.take(record.task, line, is_last=isinstance(record, Done))
            case Admitted() | Header():
                self._write(line)

    def take(self, task: int, line: bytes, *, is_last: bool) -> None:
        """Write one record of a task, as `encode` gives it. Raises as `append`."""
        self._write(line)
        if is_last:
            self._open_tasks.pop(task, None)
            self.finished += 1
        else:
            self._open_tasks.setdefault(task, []).append(line)

    def under_way(self, task: int) -> list[bytes]:
        """What is recorded of a task that has no outcome yet."""
        return self._open_tasks.get(task, [])

    async def begin(self, sent: Sent) -> None:
        """Record a call that is about to be made: on return its record outlives the process."""
        self.append(sent)

    def carry(self, task: int, lines: list[bytes]) -> None:
        """Take over an unfinished task from an earlier file."""
        self._open_tasks.setdefault(task, []).extend(lines)
        self._write(b"".join(lines))

    async def ready(self) -> None:
        """Wait while a record has been unsynced for too long. Raises StorageError when a sync failed."""
        while self.failure is None and self._lag() > MAX_UNSYNCED:
            await self._synced.wait()
        if self.failure:
            raise self.failure

    def _lag(self) -> float:
        since = self._syncing_since if self._syncing_since is not None else self._unsynced_since
        return self._clock.monotonic() - since if since is not None else 0.0

    async def commit_forever(self) -> None:
        """Sync every `COMMIT_INTERVAL` seconds when there is something to sync, however long a sync takes."""
        while True:
            began = self._clock.monotonic()
            await self.sync()
            await self._clock.sleep(max(0.0, began + COMMIT_INTERVAL - self._clock.monotonic()))

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
            self.failure = storage_error(error, path)
            raise self.failure from error

    async def rotate(self, opening: Callable[[], Record]) -> Path:
        """Start the next file with all unfinished tasks and then `opening`; return the closed file's path.

        Both files are on disk on return; where the next has no room, the one before still is.
        """
        async with self._one_sync:  # a sync under way works on the file that is closed here
            self.check_place()
            closed, closed_fd = self.path, self._fd
            try:
                self._create(self.number + 1)
                carried = b"".join(line for lines in self._open_tasks.values() for line in lines)
                self._write(carried + encode(opening()))
                self.finished = 0
            finally:
                if self._fd != closed_fd:
                    await self._close(closed_fd, closed)
        await self.sync()
        return closed

    async def _close(self, fd: int, path: Path) -> None:
        try:
            await self._fsync(fd, path)
        finally:
            os.close(fd)

    def check_place(self) -> None:
        """Raises RunFolderLostError unless the open file is the one that its name leads to: folders are
        removed, moved and replaced while a run is going."""
        with suppress(FileNotFoundError, NotADirectoryError):
            if os.path.samestat(os.stat(self.path), os.fstat(self._fd)):  # noqa: PTH116 - beside fstat
                return
        raise RunFolderLostError(
            f"the run folder {self.folder.parent} was removed, moved or replaced while the run was going",
            hint="If it was moved, move it back: it has what had arrived. Then submit again. What was "
            "removed is asked for again.",
        )

    def is_removed(self) -> bool:
        """Whether the open file has no name any more, so that what is appended goes nowhere."""
        return os.fstat(self._fd).st_nlink == 0

    def close(self) -> None:
        """Sync and close the file; `failure` says whether that did not work."""
        try:
            if self.failure is None:  # a failed fsync is not tried again here either
                os.fsync(self._fd)
        except OSError as error:
            self.failure = storage_error(error, self.path)
        finally:
            os.close(self._fd)

    def _create(self, number: int) -> None:
        path = self._path(number)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except OSError as error:
            raise storage_error(error, path) from error
        try:
            sync_folder(self.folder)
        except OSError as error:
            os.close(fd)
            with suppress(OSError):
                path.unlink()
            raise storage_error(error, path) from error
        self.number, self._fd, self.size = number, fd, 0
        self._write(encode(Header(FORMAT_VERSION)))

    def _write(self, data: bytes) -> None:
        if self.failure:
            raise self.failure
        try:
            self._write_whole(data)
        except OSError as error:
            self.failure = storage_error(error, self.path)
            raise self.failure from error
        self.size += len(data)
        if self._unsynced_since is None:
            self._unsynced_since = self._clock.monotonic()

    def _write_whole(self, data: bytes) -> None:
        try:
            _write_all(self._fd, data)
        except OSError as error:
            os.ftruncate(self._fd, self.size)  # a full disk takes a part: what follows must not join it
            if not (is_full(error) and self._make_room and self._make_room()):
                raise
            try:
                _write_all(self._fd, data)
            except OSError:
                os.ftruncate(self._fd, self.size)
                raise


def _write_all(fd: int, data: bytes) -> None:
    while (written := os.write(fd, data)) < len(data):
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data = data[written:]
