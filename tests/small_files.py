"""Files that may not grow: the nearest thing to a full disk that needs no disk of its own."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from unittest import mock


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writes of this process, and of those that it starts, stop at `size` bytes of a file (RLIMIT_FSIZE).

    The last write before is a short one. Python takes a short write of bytecode for a whole one, and every
    later process would fail on it: none is written meanwhile.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (
        mock.patch.object(sys, "dont_write_bytecode", True),
        mock.patch.dict(os.environ, PYTHONDONTWRITEBYTECODE="1"),
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
