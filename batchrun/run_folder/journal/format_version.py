"""Which checkpoints are read: the policy on versions of their format.

A checkpoint says its version (`FORMAT_VERSION`) three times: in `job.json` for the folder as a whole and so
for its small state files, in the first line of each journal file, and in the footer of each sealed part.
What says nothing is version 1.

- **Newer than ours:** the command ends before it changes anything, and says which version wrote it.
- **Older:** read and continued, nothing is asked again. Members that a record did not have yet get the value
  that says as much. Sealed parts with other columns are written anew from the records in them, under the
  lock (`upgrade`); readers without it make the columns in memory. The next submit marks the folder as ours.
- **Ours, with a record of an unknown kind or without a member that its kind must have:** a newer batchrun
  wrote it. That is an error like a newer version: passing it over could lose an answer, or pay for it twice.
  Members that we do not know are passed over.

So the version is raised for a new kind of record, and for a member or a state file that must not be passed
over; a new member or column that may be missing needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from batchrun.errors import RunFolderError

FORMAT_VERSION = 2
"""Ours."""

FIRST_VERSION = 1
"""Of a checkpoint, or a part of one, that does not say its version."""

_KEY = b"batchrun.format"


def check_version(version: object, path: Path) -> None:
    """Raises RunFolderError when `path` was written in a newer format than ours, or says none of any kind."""
    if not isinstance(version, int) or version < FIRST_VERSION:
        raise RunFolderError(
            f"{path} is damaged: its format version is {version!r}",
            hint="Restore it from a copy, or give the job another --name.",
        )
    if version > FORMAT_VERSION:
        raise RunFolderError(
            f"{path} was written by a newer batchrun "
            f"(format {version}, this one reads up to {FORMAT_VERSION})",
            hint="Update batchrun, or use the version that wrote it. Nothing was changed.",
        )


def stamp() -> dict[bytes, bytes]:
    """What the footer of a sealed part says of its version."""
    return {_KEY: str(FORMAT_VERSION).encode()}


def check_stamp(metadata: Mapping[bytes, bytes] | None, path: Path) -> None:
    """`check_version` for a sealed part with this footer."""
    said = (metadata or {}).get(_KEY, str(FIRST_VERSION).encode())
    check_version(int(said) if said.isdigit() else said, path)
