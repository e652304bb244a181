"""The index of a job's last pass over its input, as the checkpoint keeps it for the next one."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from batchrun import codec
from batchrun.index import Facts, Index
from batchrun.run_folder import checksum
from batchrun.run_folder.checkpoint.sealed import write_parquet
from batchrun.run_folder.damaged import readable
from batchrun.run_folder.disk import sync_folder, write_atomically
from batchrun.run_folder.parquet import column_names, read_file


def load(checkpoint: Path, identity: str, folder: Path) -> tuple[Index, pa.Schema] | None:
    """The index of the last pass, unless something it depends on has changed."""
    with suppress(ValueError, LookupError, TypeError, OSError, pl.exceptions.PolarsError):
        about = codec.loads((checkpoint / "index.json").read_bytes())
        if about.pop("digest", None) != codec.digest_of(about):
            return None  # damaged, or of an older version
        if about["identity"] != identity or not _unchanged(about["included"], folder):
            return None
        checksum.check(checkpoint / "index.parquet")
        rows = read_file(checkpoint / "index.parquet")
        columns = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(about["columns"])))
        return Index(rows, Facts(**about["facts"])), columns
    return None


def read_rows(checkpoint: Path, wanted: Callable[[str], bool]) -> pl.DataFrame:
    """The rows of the last pass. Raises RunFolderError where they have been damaged since."""
    path = checkpoint / "index.parquet"
    with readable(path):
        return read_file(path, [name for name in column_names(path) if wanted(name)])


def save(
    checkpoint: Path,
    identity: str,
    index: Index,
    columns: pa.Schema,
    included: dict[str, str],
    *,
    has_ids: bool,
) -> None:
    """Write the index down for the next time. Raises StorageError."""
    about: dict[str, Any] = {
        "identity": identity,
        "has_ids": has_ids,
        "facts": asdict(index.facts),
        "columns": base64.b64encode(columns.serialize()).decode(),
        "included": {name: codec.digest(text.encode()) for name, text in included.items()},
    }
    about["digest"] = codec.digest_of(about)
    (checkpoint / "index.json").unlink(missing_ok=True)
    sync_folder(checkpoint)  # it must not come back beside the other rows
    rows = index.rows.to_arrow()
    write_parquet([rows], checkpoint / "index.parquet", rows.schema)
    write_atomically(checkpoint / "index.json", codec.dumps(about))


def _unchanged(included: dict[str, str], folder: Path) -> bool:
    return all(codec.digest((folder / name).read_bytes()) == digest for name, digest in included.items())
