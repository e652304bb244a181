"""`pause` and `resume`: a submit that runs in another shell sends nothing, and goes on."""

from __future__ import annotations

import time

from batchrun.errors import RunFolderError, UsageError
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.live import read_live
from batchrun.run_folder.lock import is_locked

_PATIENCE = 5.0
"""Seconds in which a running submit has looked and said so: it does both at least once a second."""
_LOOK = 0.1


def pause(run: RunFolder) -> int | None:
    """Let the submit that runs on a folder send nothing; calls under way land.

    Gives how many there are, once it has said that it is paused; None where it says nothing in time: it is
    reading or publishing, and will pause before its next call. Raises UsageError when no submit is running,
    RunFolderError when the folder cannot be written to.
    """
    _require_running(run, "pause")
    try:
        run.pause.touch(0o600)
    except OSError as error:
        raise RunFolderError(
            f"cannot write {run.pause}: {error.strerror}",
            hint="Free some space, or stop the submit with Ctrl-C: it can be continued.",
        ) from error
    return _said(run, paused=True)


def resume(run: RunFolder) -> int | None:
    """Let a paused submit go on; the calls under way once it has said that it does, None as `pause` has it.

    Raises UsageError when no submit is running, or it is not paused.
    """
    _require_running(run, "resume")
    if not run.pause.exists():
        raise UsageError(
            f"the submit on {run.path} is not paused", hint="`batchrun status` says how it stands."
        )
    run.pause.unlink(missing_ok=True)
    return _said(run, paused=False)


def _require_running(run: RunFolder, verb: str) -> None:
    if not is_locked(run.lock):
        raise UsageError(
            f"no submit is running on {run.path}: there is nothing to {verb}",
            hint="`batchrun status` says how the run stands; `batchrun submit` goes on with it.",
        )


def _said(run: RunFolder, *, paused: bool) -> int | None:
    """The calls under way, by what the submit says once it is paused, or goes on."""
    for _ in range(round(_PATIENCE / _LOOK)):
        live = read_live(run)
        if live and live.get("paused") is paused:
            return int(live.get("in_flight") or 0)
        time.sleep(_LOOK)
    return None
