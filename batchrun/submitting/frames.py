"""A frame as a job's input: written once, as a Parquet file that is named by its content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import polars as pl

from batchrun.errors import InputError, UsageError
from batchrun.run_folder.disk import storage_error, sync_folder
from batchrun.run_folder.folder import FRAMES


class PandasFrame(Protocol):
    """A pandas.DataFrame, which is not imported for its type."""

    @property
    def iloc(self) -> Any:
        """Its rows by position."""
        ...


Frame: TypeAlias = pl.DataFrame | pl.LazyFrame | PandasFrame
"""What may be given in place of an input file; of pandas without its index."""


def write_frame(frame: Frame, folder: Path) -> Path:
    """Write the rows below `folder`, and give the file: the same one for the same rows, so that nothing is
    read again.

    Raises UsageError for what is no frame, InputError when its columns cannot be kept as Parquet, and
    StorageError when the disk refuses it.
    """
    unfinished = folder / "input.tmp"
    try:
        _lazy(frame).sink_parquet(unfinished, compression="zstd", maintain_order=True)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"the frame cannot be written as Parquet: {str(error).splitlines()[0]}",
            hint="Columns of Python objects have no such form: cast them first.",
        ) from error
    except OSError as error:
        raise storage_error(error, unfinished) from error
    try:
        return _named(unfinished)
    except OSError as error:
        raise storage_error(error, unfinished) from error


def _lazy(frame: Frame) -> pl.LazyFrame:
    if isinstance(frame, pl.DataFrame | pl.LazyFrame):
        return frame.lazy()
    if type(frame).__module__.partition(".")[0] == "pandas":
        return pl.from_pandas(frame).lazy()
    raise UsageError(
        f"input is a {type(frame).__name__}: it must be a polars or a pandas frame",
        hint="Put a path to a file into the job's input.path, as in set={'input.path': 'rows.parquet'}.",
    )


def _named(unfinished: Path) -> Path:
    """Give it the name of its content; where that is there already, it stays as it is."""
    with unfinished.open("r+b") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:16]
        os.fsync(file.fileno())
    unfinished.chmod(0o600)
    path = unfinished.with_name(FRAMES.replace("*", digest))
    if path.exists():
        unfinished.unlink()
    else:
        unfinished.rename(path)
        sync_folder(path.parent)
    return path
