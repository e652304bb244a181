"""From the bucket to a local copy of a run, whole or not at all, also after a power cut."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from batchrun.errors import RunFolderError
from batchrun.remote.manifest import Entry, Manifest
from batchrun.remote.shipping import digest_of
from batchrun.run_folder.disk import sync_folder
from batchrun.run_folder.folder import RunFolder
from batchrun.storage import Store

DOWNLOADS = 8
"""Objects on their way at once."""


def fetch(store: Store, manifest: Manifest, into: Path, have: Path) -> None:
    """Make the new folder `into` the run as a manifest has it; files that `have` holds already are linked.

    Raises ObjectStorageError, RunFolderError where what arrives is not what was uploaded, OSError.
    """
    shutil.rmtree(into, ignore_errors=True)
    for folder in (into, into / "checkpoint", into / "generations"):
        folder.mkdir(0o700, parents=True)
    files = {into / name: (have / name, entry) for name, entry in manifest.files.items()}
    if manifest.generation:
        results, before = into / "generations" / manifest.generation, have / "results"
        results.mkdir(0o700)
        files |= {results / name: (before / name, entry) for name, entry in manifest.results.items()}
        RunFolder(into).results.symlink_to(f"generations/{manifest.generation}")
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        for done in [pool.submit(_place, store, path, *one) for path, one in files.items()]:
            done.result()
    _keep_results(have, into)
    for folder in (into / "checkpoint", into / "generations", *(into / "generations").iterdir(), into):
        sync_folder(folder)


def _keep_results(have: Path, into: Path) -> None:
    """The results that `have` shows stay where they lie, for those who are reading them, unless there are
    others by their name now."""
    shown = have / "results"
    if not shown.is_symlink():
        return
    kept = into / "generations" / shown.readlink().name
    with suppress(OSError):
        kept.mkdir(0o700)
        for part in shown.glob("*.parquet"):
            (kept / part.name).hardlink_to(part)


def _place(store: Store, path: Path, have: Path, entry: Entry) -> None:
    with suppress(OSError):
        if have.stat().st_size == entry.size and digest_of(have) == entry.digest:
            path.hardlink_to(have)
            return
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for key, _size in entry.pieces:
        store.fetch(key, path)
    if path.stat().st_size != entry.size or digest_of(path) != entry.digest:
        raise RunFolderError(
            f"{store.at}: {path.name} is not what was uploaded: its size or its digest differs",
            hint="Objects of the run were changed. Put older versions of them back if the bucket has them.",
        )
    with path.open("rb") as file:
        os.fsync(file.fileno())
