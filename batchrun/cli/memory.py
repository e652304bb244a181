"""Memory of a command: Python's collector of cycles, and allocators that give back what they were lent."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_THRESHOLDS = 200_000, 10, 10
"""Objects more than before, and looks at the young ones, after which it looks; imports make some 150,000."""


@contextmanager
def seldom_collecting(*, last: bool) -> Iterator[None]:
    """Let the collector look seldom: nothing that a command has imported is garbage.

    `last`: the process ends after the block, and nothing is looked at then.

    The interpreter would search everything twice at its end, which took a fifth of a short command's time.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        if last:
            gc.freeze()
        else:
            gc.set_threshold(*before)


_M_ARENA_MAX = -8  # glibc's mallopt(3)


def keep_memory_small() -> None:
    """Let all threads share two of glibc's arenas, Arrow use them too, and polars keep nothing of its own.

    An arena a thread, and mimalloc's beside them, held 130 MB more at 200,000 rows; jemalloc, which polars
    brings along, 150 MB at a million. To be called before pyarrow and polars are imported; without glibc
    or jemalloc it does nothing.
    """
    import ctypes  # not at the start: most commands never need it

    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ["_RJEM_MALLOC_CONF"] = "dirty_decay_ms:0,muzzy_decay_ms:0"  # a parent may pass on polars' own
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
