"""A file that a job names, read whole: a regular file, and no more of it than a job may be made of."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from stat import S_ISREG

MAX_BYTES = 4_000_000
"""The largest file that a job is made of; above it, it is most likely the prompt table."""


def read_whole(path: Path) -> bytes:
    """The bytes of `path`. Raises OSError when it cannot be read, is a pipe or a device, or is too large."""
    # Without O_NONBLOCK, opening a pipe waits for its other end.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_BYTES:,} bytes", str(path))
    return data
