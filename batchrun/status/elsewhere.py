"""How a run in object storage stands, by its small objects alone: no part of it is fetched."""

from __future__ import annotations

import re
import time
from typing import Any

from batchrun import codec
from batchrun.remote.copies import LocalCopy
from batchrun.remote.lease import Lease, read_lease
from batchrun.remote.manifest import Manifest, read_manifest
from batchrun.run_folder.checkpoint.with_providers import Batch, from_bytes
from batchrun.run_folder.lock import is_locked
from batchrun.status.status import Status
from batchrun.storage import Store, open_store
from batchrun.summary import CheckOutcome

_RECORD = re.compile(r"checkpoint/batch-[0-9a-f]+\.json")


def status_elsewhere(copy: LocalCopy) -> Status | None:
    """The status of a run that another machine works on, or that has ended well; None where only its records
    tell how it stands, or this machine is at work on it.

    Whether another machine is at work hangs on its clock and this one's here, and only here. Raises
    ObjectStorageError, RunFolderError.
    """
    if is_locked(copy.run.lock):
        return None
    store = open_store(copy.place)
    found, lease = read_manifest(store), read_lease(store)
    if found is None or found[0].is_empty or lease is None:
        return None
    manifest, holder = found[0], lease[0]
    said = _said(store, manifest)
    if holder.is_held(time.time()):
        return _status(copy, manifest, said, holder, _batches(store, manifest))
    ended = holder.released and manifest.is_published  # who was cut off may have received more
    is_known = ended and said.get("state", "running") != "running"
    return _status(copy, manifest, said, None, _batches(store, manifest)) if is_known else None


def _said(store: Store, manifest: Manifest) -> dict[str, Any]:
    """What `run.json` says, as it was uploaded last."""
    try:
        document = codec.loads(_bytes(store, manifest, "run.json"))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _bytes(store: Store, manifest: Manifest, name: str) -> bytes:
    entry = manifest.files.get(name)
    return b"".join(store.read(key) or b"" for key, _size in entry.pieces) if entry else b""


def _batches(store: Store, manifest: Manifest) -> tuple[Batch, ...]:
    """Those that were with a provider when the run was uploaded last; none where another version wrote it."""
    names = filter(_RECORD.fullmatch, manifest.files)
    try:
        return from_bytes([_bytes(store, manifest, name) for name in names])
    except (ValueError, TypeError, LookupError):  # taken up meanwhile, too
        return ()


def _status(
    copy: LocalCopy,
    manifest: Manifest,
    said: dict[str, Any],
    holder: Lease | None,
    batches: tuple[Batch, ...],
) -> Status:
    """`holder` is at work; None where the last submit has ended."""
    live = holder.told.get("live") if holder else None
    ended = holder is None
    done = (live or {}).get("ok", 0), (live or {}).get("failed", 0)
    state = "paused" if live and live.get("paused") else "running" if holder else str(said["state"])
    return Status(
        name=manifest.name,
        state=state,
        rows=said.get("rows"),
        ok=said.get("ok", 0) + (0 if ended else done[0]),
        failed=said.get("failed", 0) + (0 if ended else done[1]),
        pending=max(0, said.get("pending", 0) - (0 if ended else sum(done))),
        changed=said.get("changed", 0),
        rerun=said.get("changed", 0),
        stale=said.get("stale", 0),
        unpublished=0 if ended else sum(done),
        possibly_paid=said.get("possibly_paid", 0) if ended else (live or {}).get("in_flight", 0),
        errors=said.get("errors", {}),
        stopped_by=said.get("stopped_by") if ended else None,
        usage=said.get("usage", {}),
        cost_usd=said.get("cost_usd"),
        saved_usd=said.get("saved_usd"),
        up_to_date=ended,
        checks=tuple(map(CheckOutcome.read, said.get("checks", ()))) if ended else (),
        spent=said.get("spent", {}),
        budget=said.get("budget", {}),
        last_submit=said.get("submit", {}),
        batches=batches,
        live=live,
        run_folder=str(copy.place),
        results=f"{copy.place}/results/*.parquet" if manifest.results else None,
        host=holder.host if holder else None,
    )
