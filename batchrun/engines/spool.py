"""What is read in one order and wanted in another: kept on disk meanwhile."""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from batchrun.run_folder.disk import storage_error

T = TypeVar("T")


def spooled(items: Iterable[T], order: Iterable[int], folder: Path) -> Iterator[T]:
    """Yield `items` in `order`, the positions of all of them, after they were read to their end.

    In memory stay 8 bytes for each. The file below `folder` has no name: a kill leaves nothing of it.
    Raises StorageError when the disk refuses it.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        places = written(items, file, folder)
        for position in order:
            file.seek(places[position])
            # safe to load: a file without a name is written by this process alone
            item: T = pickle.load(file)
            yield item


def written(items: Iterable[Any], file: IO[bytes], folder: Path) -> array[int]:
    """Write `items` to `file`, which lies below `folder`: where each of them begins, in bytes.

    Raises StorageError when the disk refuses it.
    """
    places = array("Q")
    at = 0
    for item in items:
        places.append(at)
        at += _write(pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL), file, folder)
    _write(b"", file, folder)
    return places


def _write(data: bytes, file: IO[bytes], folder: Path) -> int:
    """Append `data`; without any, bring what is buffered to the file. Gives how many bytes."""
    try:
        return file.write(data) if data else file.flush() or 0
    except OSError as error:
        raise storage_error(error, folder) from error
