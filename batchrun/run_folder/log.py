"""`log.jsonl`: the events of a run, a JSON line each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from batchrun import codec


class Log(Protocol):
    """Takes an event's name and its fields."""

    def __call__(self, event: str, /, **fields: object) -> None: ...


@contextmanager
def open_log(path: Path) -> Iterator[Log]:
    """Append events to `path`. A disk that refuses a line of the log does not stop the run."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)

    def log(event: str, /, **fields: object) -> None:
        now = datetime.now(tz=UTC).isoformat(timespec="milliseconds")
        line = codec.dumps({"at": now, "event": event, **fields}) + b"\n"
        with suppress(OSError):
            if os.write(fd, line) < len(line):  # a full disk: the next line must not join it
                os.write(fd, b"\n")

    try:
        yield log
    finally:
        os.close(fd)
