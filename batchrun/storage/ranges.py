"""An object as a file: read a range at a time, and only as long as it stays the one that was opened."""

from __future__ import annotations

import io
from typing import IO

from batchrun.storage.store import ConflictError, Store, Version

BUFFER = 4_000_000
"""Bytes of one request: large enough that a server's delay of 50 ms costs half of 100 MB/s."""


class ChangedObjectError(OSError):
    """The object was written anew while it was read."""


class _Ranges(io.RawIOBase):
    def __init__(self, store: Store, key: str, size: int, version: Version) -> None:
        self._store = store
        self._key = key
        self._size = size
        self._version = version
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, into: memoryview) -> int:  # type: ignore[override] # typeshed has any buffer
        end = min(self._at + len(into), self._size)
        if end <= self._at:
            return 0
        try:
            data = self._store.read_range(self._key, self._at, end, self._version)
        except ConflictError:
            raise ChangedObjectError("it was written anew while it was read") from None
        into[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_object(store: Store, key: str, size: int, version: Version, buffer: int = BUFFER) -> IO[bytes]:
    """One writing of an object as a binary file of `size` bytes, which can be sought in.

    Reading raises ChangedObjectError when there is another writing now, and ObjectStorageError.
    """
    return io.BufferedReader(_Ranges(store, key, size, version), buffer)
