"""A frame as a job's input: written once, as a Parquet file that is named by its content."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import polars as pl

from batchrun.errors import InputError, UsageError
from batchrun.run_folder.disk import is_of_disk, storage_error, sync_folder
from batchrun.run_folder.folder import FRAMES


class PandasFrame(Protocol):
    """A pandas.DataFrame, which is not imported for its type."""

    @property
    def iloc(self) -> Any:
        """Its rows by position."""
        ...


Frame: TypeAlias = pl.DataFrame | pl.LazyFrame | PandasFrame
"""What may be given in place of an input file; of pandas without its index."""

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""How polars names an error of the system in its own, which have no `errno`."""


def rows_of(frame: Frame) -> pl.LazyFrame:
    """The rows of a frame whose columns can be kept as Parquet.

    Raises UsageError for what is no frame, and InputError.
    """
    if isinstance(frame, pl.DataFrame | pl.LazyFrame):
        rows = frame.lazy()
    elif type(frame).__module__.partition(".")[0] == "pandas":
        with _made("Each of its columns must hold values of one type: `polars.from_pandas` says the same."):
            rows = pl.from_pandas(frame).lazy()
    else:
        raise UsageError(
            f"input is a {type(frame).__name__}: it must be a polars or a pandas frame",
            hint="Put a path to a file into the job's input.path, as in set={'input.path': 'rows.parquet'}.",
        )
    with _made("Its own `collect_schema()` ends so, too: mend the frame, or the files that it reads."):
        schema = rows.collect_schema()
    for name, kind in schema.items():
        if _has_no_form(kind):
            raise InputError(
                f"column {name!r} of the frame is {kind}, which cannot be kept",
                hint=f"Cast it first, as in frame.cast({{{name!r}: pl.String}}), or drop it.",
            )
    return rows


def write_rows(rows: pl.LazyFrame, folder: Path) -> Path:
    """Write the rows below `folder`, and give the file: the same one for the same rows, so that nothing is
    read again.

    Raises InputError when they cannot be computed, and StorageError when the disk refuses them. Nothing is
    left in the folder then.
    """
    with _unfinished(folder) as path:
        with _made("Its own `collect()` ends so, too: mend the frame, or the files that it reads.", path):
            rows.sink_parquet(path, compression="zstd", maintain_order=True)
        try:
            return _named(path)
        except OSError as error:
            raise storage_error(error, path) from error


@contextmanager
def _made(hint: str, writing: Path | None = None) -> Iterator[None]:
    """What a frame raises while it is made becomes InputError: whatever its files, its expressions and the
    user's own functions do. What the disk refuses to the file that is written is StorageError."""
    try:
        yield
    except Exception as error:
        if writing is not None and (found := _OS_ERROR.search(str(error))):
            refused = OSError(int(found[1]), os.strerror(int(found[1])))
            if is_of_disk(refused):
                raise storage_error(refused, writing) from error
        text = str(error).strip().partition("\n")[0]
        kind = "" if isinstance(error, OSError | pl.exceptions.PolarsError) else f"{type(error).__name__}: "
        raise InputError(f"the frame cannot be computed: {kind}{text}", hint=hint) from error


def _has_no_form(kind: pl.DataType | pl.datatypes.DataTypeClass) -> bool:
    """Whether Parquet has no form for it, or one that pyarrow does not read."""
    if isinstance(kind, pl.Struct):
        return not kind.fields or any(_has_no_form(field.dtype) for field in kind.fields)
    if isinstance(kind, pl.List | pl.Array):
        return _has_no_form(kind.inner)
    return kind in (pl.Object, pl.Int128, pl.UInt128)


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A file of our own: submits may write their frames at once, as none of them holds the lock yet."""
    try:
        handle, name = tempfile.mkstemp(prefix="input-", suffix=".tmp", dir=folder)
    except OSError as error:
        raise storage_error(error, folder) from error
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _named(unfinished: Path) -> Path:
    """Give it the name of its content; where that is there already, it stays as it is."""
    with unfinished.open("r+b") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:16]
        os.fsync(file.fileno())
    unfinished.chmod(0o600)
    path = unfinished.with_name(FRAMES.replace("*", digest))
    if not path.exists():
        unfinished.rename(path)
        sync_folder(path.parent)
    return path
