"""Where a file of the input is kept: on this machine, or in object storage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import pyarrow as pa

from batchrun.storage import Store, Version, open_object


class Kept(Protocol):
    """A file as it was found, to be read any number of times."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def identity(self) -> tuple[str, int, int | str]:
        """Place, size and what tells one writing of it from the next."""
        ...

    def open(self) -> IO[bytes]:
        """Read it from its start."""
        ...

    def for_arrow(self) -> pa.NativeFile:
        """The same for pyarrow."""
        ...

    def is_unchanged(self) -> bool:
        """Whether it is still what was found, as far as that can be told without a request. Raises OSError
        where it is gone."""
        ...


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A local file."""

    path: Path
    size: int
    mtime_ns: int

    @classmethod
    def found(cls, path: Path) -> OnDisk:
        """The file as it is now. Raises OSError."""
        stat = path.stat()
        return cls(path, stat.st_size, stat.st_mtime_ns)

    @property
    def identity(self) -> tuple[str, int, int | str]:
        return str(self.path), self.size, self.mtime_ns

    def open(self) -> IO[bytes]:
        return self.path.open("rb", buffering=0)

    def for_arrow(self) -> pa.NativeFile:
        return pa.OSFile(str(self.path))

    def is_unchanged(self) -> bool:
        return self.found(self.path) == self


@dataclass(frozen=True, slots=True)
class InStorage:
    """An object. Each request for some of it says which writing is meant: a change is found as it is read."""

    store: Store
    key: str
    size: int
    version: Version

    @property
    def identity(self) -> tuple[str, int, int | str]:
        return str(self.store.at.below(self.key)), self.size, "".join(self.version.values())

    def open(self) -> IO[bytes]:
        return open_object(self.store, self.key, self.size, self.version)

    def for_arrow(self) -> pa.NativeFile:
        return pa.PythonFile(self.open(), mode="r")

    def is_unchanged(self) -> bool:
        return True
