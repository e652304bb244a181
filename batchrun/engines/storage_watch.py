"""What looks after the run folder while an engine runs: room on the disk, and whether the folder is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio

from batchrun.answer.in_flight import InFlightCalls
from batchrun.errors import RunFolderLostError
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.room import Spare, free, megabytes, reserve
from batchrun.summary import Stop

INTERVAL = 1.0
"""Seconds between two looks."""

HINT = "What has arrived is kept. Free some space, then submit again."


async def watch_storage(
    journal: Journal,
    spare: Spare,
    in_flight_calls: InFlightCalls,
    stop: Callable[[Stop], None],
    *,
    free: Callable[[Path], int | None] = free,
) -> None:
    """Stop the run while there is room for the answers under way; look until cancelled.

    Raises RunFolderLostError when the run folder was removed, moved or replaced.
    """
    stopped = False
    while True:
        try:
            journal.check_place()
        except RunFolderLostError:
            if journal.is_removed():  # no answer could be kept
                in_flight_calls.drain_until(anyio.current_time())
            raise
        if not stopped and (reason := _short(journal, spare, in_flight_calls, free)):
            stopped = True
            stop(Stop("storage", reason))
        with anyio.move_on_after(INTERVAL):
            await (anyio.sleep_forever() if stopped else spare.given_up.wait())


def _short(
    journal: Journal, spare: Spare, in_flight_calls: InFlightCalls, free: Callable[[Path], int | None]
) -> str | None:
    """Why the run must stop, if the disk is running full."""
    if spare.given_up.is_set():
        return f"cannot write to {journal.path}: the disk is full\n  {HINT}"
    room = free(journal.folder)
    needed = reserve(journal=journal.size, answers=journal.finished, under_way=len(in_flight_calls))
    if room is None or room >= needed:
        return None
    return (
        f"the disk is nearly full: {megabytes(room)} are free where {journal.folder} lies, and ending the "
        f"run may take {megabytes(needed)}\n  {HINT}"
    )
