"""Object storage: what an input path may name beside local files, and where a run may be kept."""

from __future__ import annotations

from batchrun.storage.address import Address, copy_path, is_remote
from batchrun.storage.ranges import ChangedObjectError, open_object
from batchrun.storage.store import ConflictError, Listed, Patience, Store, Version, open_store, polars_options

__all__ = [
    "Address",
    "ChangedObjectError",
    "ConflictError",
    "Listed",
    "Patience",
    "Store",
    "Version",
    "copy_path",
    "is_remote",
    "open_object",
    "open_store",
    "polars_options",
]
