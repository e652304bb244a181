"""Parquet files read by the paths that they have: polars alone takes `[`, `*` and `?` in them for a pattern.

Which files there are is asked of the folder (`Path.glob`), whose own name is never a pattern then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl


def scan_files(
    files: Path | Sequence[Path | str], *, storage_options: Mapping[str, str] | None = None
) -> pl.LazyFrame:
    """The rows of a file, or of several in their order; addresses in object storage are files, too."""
    paths = [files] if isinstance(files, Path) else [str(file) for file in files]
    return pl.scan_parquet(paths, glob=False, storage_options=dict(storage_options or {}) or None)


def read_file(file: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """All rows of a file, with all columns or these."""
    return pl.read_parquet(file, columns=None if columns is None else list(columns), glob=False)


def column_names(file: Path) -> list[str]:
    """The columns of a file, in their order."""
    return scan_files(file).collect_schema().names()
