"""A checksum over a whole Parquet file, kept in its footer: damage by the disk is told before it is read.

Parquet's own page checksums leave out the page headers and the footer, and not every reader looks at
them; its compression finds hardly any damage (of 800 flipped bits in a zstd file, 572 gave other values
and no error). So the footer holds a key `batchrun.crc32` whose value is the CRC-32 of the file with eight
zeros in its place.
"""

from __future__ import annotations

import mmap
import os
import re
import zlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

_KEY = b"batchrun.crc32"
_VALUE = re.compile(re.escape(_KEY) + rb"\x18\x08(.{8})", re.DOTALL)
"""The pair as the footer spells it (Thrift's compact protocol): the value is a string of eight bytes."""
_EMPTY = b"0" * 8
_MAGIC = b"PAR1"
"""What a Parquet file ends with."""


def place() -> dict[str, str]:
    """The metadata that keep a place for the checksum."""
    return {_KEY.decode(): _EMPTY.decode()}


def fill_in(path: Path) -> None:
    """Put the checksum of a finished file into the place kept for it, before the file is synced."""
    with path.open("r+b", buffering=0) as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = _place_in(data)
            assert at is not None, "no place was kept"
            checksum = b"%08x" % _crc(data, at)
        os.pwrite(file.fileno(), checksum, at)  # a write says when the disk is full; a mapping would crash


def check(path: Path) -> bool:
    """Whether a file has a checksum. Raises ValueError where it is not as it was written.

    A file is read for it once, as long as it stays the same.
    """
    about = path.stat()
    return _check(path, about.st_ino, about.st_size, about.st_mtime_ns)


def is_sound(path: Path) -> bool:
    """Whether a file is there as this version wrote it: with a checksum, which fits."""
    with suppress(OSError, ValueError):
        return check(path)
    return False


@lru_cache(maxsize=100_000)
def _check(path: Path, _inode: int, size: int, _mtime: int) -> bool:
    if not size:
        raise ValueError("it is empty")  # which cannot be mapped
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[-4:] != _MAGIC:
            raise ValueError("its end is missing")
        at = _place_in(data)
        if at is not None and data[at : at + 8] != b"%08x" % _crc(data, at):
            raise ValueError("its checksum does not fit")
    return at is not None


def _place_in(data: mmap.mmap) -> int | None:
    found = data.rfind(_KEY)  # the footer is last
    match = _VALUE.match(data, found) if found >= 0 else None
    return None if match is None else match.start(1)


def _crc(data: mmap.mmap, at: int) -> int:
    with memoryview(data) as view, view[:at] as before, view[at + 8 :] as after:
        return zlib.crc32(after, zlib.crc32(_EMPTY, zlib.crc32(before)))
