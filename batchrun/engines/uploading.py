"""A run in object storage while its rows are asked: what has come is uploaded, and the lease is looked at."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from batchrun.errors import ObjectStorageError
from batchrun.remote.leased_run import LeasedRun
from batchrun.run_folder.checkpoint.sealed import sealed_parts
from batchrun.summary import Stop
from batchrun.wording import duration

INTERVAL = 30.0
"""Seconds between two uploads of what the journal holds: what a lost machine takes with it, at most."""

GAP = 5.0
"""Seconds between two uploads where parts are sealed: what waits in the journal is uploaded again in one."""

PATIENCE = 600.0
"""Seconds without an upload after which the run stops: more and more would hang on this machine alone."""

LOOK = 0.5


async def keep_uploading(
    remote: LeasedRun,
    checkpoint: Path,
    stop: Callable[[Stop], None],
    *,
    say: Callable[[str], None],
    log: Callable[..., None],
    interval: float = INTERVAL,
    patience: float = PATIENCE,
) -> None:
    """Upload until cancelled, stop the run where that fails for `patience` seconds.

    Raises LeaseLostError as soon as another submit has taken the run.
    """
    last, parts = time.monotonic(), len(sealed_parts(checkpoint))
    tried, failing = last, False
    while True:
        await anyio.sleep(min(LOOK, interval))
        if remote.lost:
            raise remote.lost
        now = time.monotonic()
        sealed = len(sealed_parts(checkpoint)) != parts
        if now - tried < (min(GAP, interval) if sealed else interval):
            continue
        parts = len(sealed_parts(checkpoint))
        tried = now
        try:
            await anyio.to_thread.run_sync(remote.ship)
        except ObjectStorageError as error:
            log("upload_failed", reason=error.message)
            if not failing:
                say(f"nothing can be uploaded now, and it is tried again: {error.message}")
            failing, parts = True, -1  # soon again
            if now - last > patience:
                reason = f"nothing could be uploaded for {duration(now - last)}: {error.message}"
                stop(Stop("storage", f"{reason}\n  What has arrived is kept here. Submit again from here."))
        else:
            if failing:
                say("uploads go through again")
            failing, last = False, now
