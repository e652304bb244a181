"""What the disk is asked, and what it refuses as an error of ours: files there whole or not at all, and names
that survive a power cut."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batchrun.errors import OpenFilesError, StorageError


def unfinished(path: Path) -> Path:
    """Beside it, what is to become the file."""
    return path.with_name(path.name + ".tmp")


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file by one that is there whole or not at all, also after a power cut.

    Raises StorageError when the disk refuses it; the file is as it was then.
    """
    fresh = unfinished(path)
    with replacing(path, fresh):
        _write_durably(fresh, data)


@contextmanager
def replacing(path: Path, fresh: Path) -> Iterator[None]:
    """Put `fresh`, which the block writes and syncs, in the place of `path`; it is gone when that fails.

    Raises StorageError.
    """
    try:
        yield
        os.replace(fresh, path)  # noqa: PTH105 - beside os.write and os.fsync
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise storage_error(error, path) from error


def _write_durably(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        left = memoryview(data)
        while left:  # a disk that is nearly full takes a part
            left = left[file.write(left) :]
        os.fsync(fd)


def sync_folder(folder: Path) -> None:
    """Make creations, renames and removals in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's part of it, has no room left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_of_disk(error: BaseException | None) -> bool:
    """Whether an error is the disk's or the machine's and may pass, unlike a wrong path or permission."""
    passing = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE)
    return isinstance(error, OSError) and error.errno in passing


def storage_error(error: OSError, path: Path, *, doing: str = "write to") -> StorageError:
    """The end of a run whose disk refused to write `path`, or whatever it was `doing` with it."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return OpenFilesError(
            f"cannot {doing} {path}: {error.strerror}",
            hint="Everything received before this is kept. Raise the limit on open files (`ulimit -n 4096`), "
            "then submit again.",
        )
    what = "the disk is full" if is_full(error) else error.strerror or error
    return StorageError(
        f"cannot {doing} {path}: {what}",
        hint="Everything received before this is kept. Free some space or mend the disk, then submit again.",
    )
