"""A run that is paused and resumed from another shell."""

from __future__ import annotations

from collections.abc import Callable

from batchrun.admission import Admission
from batchrun.clock import PausableClock

LOOK = 0.5
"""Seconds between two looks whether it is."""


async def obey_pauses(
    asked: Callable[[], str],
    admission: Admission,
    clock: PausableClock,
    *,
    say: Callable[[str], None],
    log: Callable[..., None],
) -> None:
    """Send nothing while it is `asked` for, which says why: calls under way land, waits do not grow old."""
    while True:
        wanted = asked()
        if wanted and not clock.is_paused:
            clock.pause()
            admission.hold()
            log("paused")
            say(wanted)
        elif clock.is_paused and not wanted:
            clock.resume()
            admission.let_go()
            log("resumed")
            say("resumed")
        await clock.sleep(LOOK)
