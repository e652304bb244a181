"""How a running submit stands, as it says in its folder every second: for `status` in another shell."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from batchrun import codec
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.lock import is_locked


def write_live(run: RunFolder, document: dict[str, Any]) -> None:
    """Say it: whole or not at all, and not kept through a power cut. A disk that refuses it is no reason to
    stop."""
    unfinished = run.live.with_suffix(".tmp")
    with suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with open(os.open(unfinished, flags, 0o600), "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            file.write(codec.dumps(document))
        os.replace(unfinished, run.live)  # noqa: PTH105 - the name that means atomic


def read_live(run: RunFolder) -> dict[str, Any] | None:
    """What the running submit said last; None when none is running, or it has not said anything yet."""
    if not is_locked(run.lock):
        return None
    with suppress(OSError, ValueError):
        found = codec.loads(run.live.read_bytes())
        return found if isinstance(found, dict) else None
    return None


def remove_live(run: RunFolder) -> None:
    """Say nothing more."""
    with suppress(OSError):
        run.live.unlink(missing_ok=True)
