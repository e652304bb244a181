"""The file that an export or a report goes to: there whole or not at all."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeAlias, cast

from batchrun.errors import StorageError, UsageError

Bytes: TypeAlias = bytes | bytearray | memoryview


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when the block has ended well.

    With the permissions of the file before it, else those that the user's umask gives. A pipe or a
    device is written to as it is. Raises UsageError where nothing can be written, and StorageError when
    the disk refuses it later; `path` is as it was then.
    """
    before = path.stat().st_mode if path.exists() else None
    if before is not None and not stat.S_ISREG(before):  # unresolved: a pipe may have no path
        with _opened(path, os.O_WRONLY, path) as file:
            yield cast("IO[bytes]", file)
        return
    path = path.resolve()
    unfinished = path.with_name(f".{path.name[:60]}.{os.getpid()}.tmp")
    try:
        unfinished.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with _opened(unfinished, flags, path, 0o666 if before is None else 0o600) as file:
            yield cast("IO[bytes]", file)
            file.finish(before)
            os.replace(unfinished, path)  # noqa: PTH105 - beside os.open and os.fsync
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


class _Target(io.RawIOBase):
    """An open file whose failures say which file it was to be."""

    def __init__(self, fd: int, path: Path) -> None:
        self._file = open(fd, "wb", buffering=0)  # noqa: SIM115 - closed by `close`
        self._path = path

    def writable(self) -> bool:
        return True

    def write(self, data: Bytes, /) -> int:  # type: ignore[override]  # the name of all buffers is 3.12's
        left = memoryview(data).cast("B")
        size = len(left)
        with self._told():
            while left:  # a disk that is nearly full takes a part
                left = left[self._file.write(left) :]
        return size

    def finish(self, mode: int | None) -> None:
        """Make what was written durable, with these permissions."""
        with self._told():
            if mode is not None:
                os.fchmod(self._file.fileno(), stat.S_IMODE(mode))
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
        super().close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StorageError(
                f"cannot write {self._path}: {error.strerror}",
                hint="Nothing there was changed; make room, and try again.",
            ) from error


def _opened(path: Path, flags: int, named: Path, mode: int = 0o666) -> _Target:
    try:
        return _Target(os.open(path, flags, mode), named)
    except OSError as error:
        raise UsageError(
            f"{named}: cannot be written: {error.strerror}",
            hint="Name a file in a folder that exists and that you may write to.",
        ) from error
