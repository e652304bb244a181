"""State files of a checkpoint that cannot be read: what happened, and what it means to go on without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa

from batchrun.errors import RunFolderError
from batchrun.run_folder import checksum

_WITHOUT = {
    "sealed": "Its rows are asked for, and paid for, again.",
    "kept": "Submit then asks again what is to happen to the rows whose older answers were kept.",
    "shared": "Rows that showed the answer to an equal one may then be asked for after an edit.",
    "spent": "The budget then no longer counts what answers took that `gc` has dropped.",
    "batch": "The rows of that batch are then asked for, and paid for, again.",
    "index": "The next submit makes it anew.",
    "types": "The next submit makes it anew.",
    "part": "The next submit publishes it anew.",
    "job": 'Write {"name": NAME} with the job\'s name into it, on one line.',
}
"""By the first word of a file's name: what it means to remove it."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raises RunFolderError in place of what reading a damaged file raises.

    A file that is missing or that the disk refuses stays the error that it is.
    """
    try:
        if path.suffix == ".parquet":
            checksum.check(path)
        yield
    except (
        pa.ArrowException,
        pl.exceptions.PolarsError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise _error(path, error) from error
    except OSError as error:
        if error.errno is not None or type(error) is not OSError:  # polars' FileNotFoundError has no errno
            raise
        raise _error(path, error) from error  # Arrow's, of a page that does not unpack


def _error(path: Path, error: Exception) -> RunFolderError:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return RunFolderError(
        f"{path} is damaged: {first}",
        hint=f"Restore it from a copy, or remove it. {_WITHOUT[path.stem.partition('-')[0]]}",
    )
