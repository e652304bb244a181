"""Files that were sent to a simulated endpoint, and those that its batches make (OpenAI, Files API)."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batchrun.simulator.refusal import Refusal, RefusedError, of_status

_BOUNDARY = re.compile(r"multipart/form-data\s*;.*boundary=\"?([^\";]{1,200})", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(rb'[;\s]name="([^"]*)"', re.IGNORECASE)
_FILENAME = re.compile(rb'filename="([^"]*)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class File:
    """One file; `created` in seconds since the epoch."""

    id: str
    purpose: str
    filename: str
    created: int
    data: bytes

    def document(self) -> dict[str, Any]:
        """As the API tells of it."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.data),
            "created_at": self.created,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


@dataclass(frozen=True, slots=True)
class _Part:
    """Where the bytes of a part are in the body: files are large, so nothing is copied to look for them."""

    name: bytes
    filename: str
    start: int
    end: int


class Files:
    """The files by their ids, oldest first. Raises RefusedError for what it has not, or will not take."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._files: dict[str, File] = {}
        self._numbers = itertools.count(1)

    def upload(self, content_type: str, body: bytes) -> File:
        """Take a file with its `purpose`, as multipart/form-data (RFC 7578)."""
        found = _BOUNDARY.match(content_type)
        parts = {part.name: part for part in _parts(body, found[1].encode())} if found else {}
        if b"file" not in parts or b"purpose" not in parts:
            raise RefusedError(of_status(400, "`file` and `purpose` are required, as multipart/form-data."))
        file, purpose = parts[b"file"], parts[b"purpose"]
        if file.end - file.start > self._most:
            raise RefusedError(of_status(413, f"The file is larger than {self._most} bytes."))
        said = body[purpose.start : purpose.end].decode(errors="replace")
        return self.keep(said, file.filename, body[file.start : file.end])

    def keep(self, purpose: str, filename: str, data: bytes) -> File:
        """Add a file."""
        file = File(f"file-{next(self._numbers):08d}", purpose, filename, int(time.time()), data)
        self._files[file.id] = file
        return file

    def get(self, file_id: str) -> File:
        """The file of that id."""
        if file_id not in self._files:
            raise RefusedError(Refusal(404, f"No such File object: {file_id}", param="id"))
        return self._files[file_id]

    def delete(self, file_id: str) -> dict[str, Any]:
        """Remove it."""
        del self._files[self.get(file_id).id]
        return {"id": file_id, "object": "file", "deleted": True}

    def all(self, purpose: str | None = None) -> list[File]:
        """Newest first."""
        return [file for file in reversed(self._files.values()) if purpose in (None, file.purpose)]


def _parts(body: bytes, boundary: bytes) -> Iterator[_Part]:
    """The parts that have a name and an end."""
    mark = b"\r\n--" + boundary
    before = -2 if body.startswith(mark[2:]) else body.find(mark)
    end = -1 if before == -1 else body.find(mark, before + len(mark))
    while end >= 0:
        head_end = body.find(b"\r\n\r\n", before + len(mark), end)
        head = body[before + len(mark) : max(0, head_end)]
        if name := _NAME.search(head):
            filename = _FILENAME.search(head)
            shown = filename[1].decode(errors="replace") if filename else ""
            yield _Part(name[1], shown, head_end + 4, end)
        before, end = end, body.find(mark, end + len(mark))
