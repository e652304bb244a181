"""Python's collector of cycles, kept from looking at what a command has imported: none of it is garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = 200_000, 10, 10
"""Objects more than before, and looks at the young ones, after which it looks; imports make some 150,000."""


@contextmanager
def seldom_collecting(*, last: bool) -> Iterator[None]:
    """Let the collector look seldom. `last`: the process ends after the block, and nothing is looked at then.

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
