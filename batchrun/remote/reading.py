"""A run in object storage for those who only read it: its local copy, brought up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from batchrun.errors import ObjectStorageError, RunFolderError
from batchrun.remote.copies import LocalCopy
from batchrun.remote.lease import read_lease
from batchrun.remote.manifest import Manifest, read_manifest
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.lock import is_locked
from batchrun.storage import Address, Store, open_store


def open_copy(place: Address, path: Path, *, say: Callable[[str], None]) -> RunFolder:
    """The run at `place`, as uploaded last, in its local copy at `path`; the copy itself where it goes on
    from that, or a submit on this machine is at work on it.

    Raises RunFolderError where there is none, ObjectStorageError.
    """
    run = find_copy(place, path, say=say)
    if run is None:
        raise _no_run(place)
    return run


def find_copy(place: Address, path: Path, *, say: Callable[[str], None]) -> RunFolder | None:
    """The same; None where there is no run yet. Raises as `open_copy` otherwise."""
    copy = LocalCopy(place, path)
    copy.make()
    with copy.turn():
        if is_locked(copy.lock):  # a submit's, newer than what it has uploaded
            return copy.run if copy.run.identity_path.exists() else None
        return copy.run if _brought_up(copy, say) else None


def require_run(place: Address, path: Path) -> None:
    """Raises RunFolderError where nothing was uploaded to `place`, no submit is about to, and the local copy
    at `path` holds no run either; ObjectStorageError. Writes nothing."""
    if RunFolder(path).identity_path.exists() or _newest(open_store(place)) is not None:
        return
    if not is_at_work(place):
        raise _no_run(place)


def _no_run(place: Address) -> RunFolderError:
    return RunFolderError(
        f"there is no run in {place}",
        hint="Start one with `batchrun submit JOB.yaml`, whose output.path names it.",
    )


def published_results(place: Address, path: Path) -> list[Address] | None:
    """The parts of the run at `place` in the order of their rows, where they show every answer there is.

    None where they do not, there is none, or a submit on this machine is at work in the copy at `path`.
    Raises ObjectStorageError, RunFolderError.
    """
    found = None if is_locked(RunFolder(path).lock) else read_manifest(open_store(place))
    if found is None or not found[0].is_published or not found[0].results:
        return None
    parts = (entry for _name, entry in sorted(found[0].results.items()))
    return [place.below(key) for entry in parts for key, _size in entry.pieces]


def is_at_work(place: Address) -> bool:
    """Whether a submit holds the run at `place`, here or on another machine, as far as clocks agree.

    Raises ObjectStorageError.
    """
    lease = read_lease(open_store(place))
    return lease is not None and lease[0].is_held(time.time())


def _brought_up(copy: LocalCopy, say: Callable[[str], None]) -> bool:
    """Bring a copy up to date; whether there is a run. For whose turn it is."""
    store = open_store(copy.place)
    manifest = _newest(store)
    while manifest is not None:
        try:
            copy.bring_up(store, manifest, say=say)
        except (ObjectStorageError, RunFolderError):
            now = _newest(store)
            if now is not None and now.state == manifest.state:
                raise
            manifest = now  # a submit has replaced it meanwhile, and removed what only the former one names
        else:
            copy.note(copy.holder(), manifest)
            return True
    return False


def _newest(store: Store) -> Manifest | None:
    found = read_manifest(store)
    return None if found is None or found[0].is_empty else found[0]
