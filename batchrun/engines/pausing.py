"""A run that is paused: from another shell, or because another submit may take it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from batchrun.admission import Admission
from batchrun.clock import PausableClock
from batchrun.remote.leased_run import LeasedRun

LOOK = 0.5
"""Seconds between two looks whether it is."""


async def obey_pauses(
    pause: Path,
    remote: LeasedRun | None,
    admission: Admission,
    clock: PausableClock,
    *,
    say: Callable[[str], None],
    log: Callable[..., None],
) -> None:
    """Send nothing while the file `pause` is there, or the lease on a run in object storage is unsure: calls
    under way land, waits do not grow old."""
    while True:
        wanted = _why_paused(pause, remote)
        if wanted and not clock.is_paused:
            clock.pause()
            admission.suspend()
            log("paused")
            say(wanted)
        elif clock.is_paused and not wanted:
            clock.resume()
            admission.resume()
            log("resumed")
            say("resumed")
        await clock.sleep(LOOK)


def _why_paused(pause: Path, remote: LeasedRun | None) -> str:
    """Why nothing may be sent now; empty where it may."""
    if pause.exists():
        return "paused: nothing is sent until `batchrun resume`; what is in flight is waited for"
    if remote is not None and remote.is_unsure:
        return "paused: the lease on the run cannot be renewed; what is in flight is waited for"
    return ""
