"""The lock that lets one submit at a time work on a run folder.

An flock dies with the process that holds it, so a killed run never leaves a stale lock. It is
trusted only on local filesystems.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from batchrun.errors import RunFolderError, RunLockedError
from batchrun.run_folder.disk import is_of_disk, storage_error

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre"})

_LOOK = 0.2


@contextmanager
def locked(path: Path, what: str = "") -> Iterator[None]:
    """Hold the lock file `path` of a run folder, or of `what` a message is to name. Raises RunLockedError
    when another process does, RunFolderError where a lock cannot be trusted."""
    _check_filesystem(path.parent)
    fd = _opened(path)
    try:
        if not _taken(fd):
            raise RunLockedError(
                f"another submit is running on {what or path.parent.parent}{_holder(fd)}",
                hint="Wait for it, look at it with `batchrun status`, or give this one a --name of its own.",
            )
        with suppress(OSError):  # a full disk: it only tells who holds the lock
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


@contextmanager
def locked_in_turn(path: Path, what: str, patience: float) -> Iterator[None]:
    """The same, after whoever holds it, for at most so many seconds."""
    with ExitStack() as stack:
        end = time.monotonic() + patience
        while True:
            try:
                stack.enter_context(locked(path, what))
            except RunLockedError:
                if time.monotonic() > end:
                    raise
                time.sleep(_LOOK)
            else:
                break
        yield


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if is_of_disk(error):
            raise storage_error(error, path) from error
        raise RunFolderError(
            f"cannot write to the run folder {path.parent.parent}: {error.strerror}",
            hint="Make it writable, or give output.path another folder.",
        ) from error


def _taken(fd: int) -> bool:
    """Take the lock; `is_locked` in another process holds it for an instant, so one refusal is not enough."""
    for pause in (0.02, 0.1, None):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if pause is None:
                return False
            time.sleep(pause)
        else:
            break
    return True


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock file `path`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def _holder(fd: int) -> str:
    for pause in (0.05, 0.2, None):  # whoever has just taken it is about to write its number
        text = os.pread(fd, 32, 0).decode(errors="replace").strip()
        if text.isdigit():
            return f" (process {text})"
        if pause is not None:
            time.sleep(pause)
    return ""


def _check_filesystem(folder: Path) -> None:
    kind = filesystem_of(folder)
    if kind in _NETWORK or kind.startswith("fuse."):
        raise RunFolderError(
            f"{folder.parent} lies on a network filesystem ({kind}), where locks cannot be trusted",
            hint="Give output.path a folder on a local disk, and copy the results afterwards.",
        )


def filesystem_of(folder: Path) -> str:
    """The type of the filesystem a folder lies on, as /proc names it; empty where that is unknown."""
    mounts = Path("/proc/self/mountinfo")
    if sys.platform != "linux" or not mounts.exists():
        return ""
    device = f"{os.major(folder.stat().st_dev)}:{os.minor(folder.stat().st_dev)}"
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        fields, _, source = line.partition(" - ")
        if fields.split()[2] == device:
            return source.split()[0]
    return ""
