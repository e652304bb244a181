"""A file's bytes as chunks, and chunks as lines, without ever holding more than one line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

import pyarrow as pa

from batchrun.errors import InputError
from batchrun.source.files import SourceFile, changed
from batchrun.source.rows import MAX_RAW, abbreviated
from batchrun.storage import ChangedObjectError

CHUNK = 256 * 1024
"""Bytes read at once: some hundreds of rows, a few MB once they are Python objects."""
MAX_LINE = 64 * 1024 * 1024
"""Bytes of the longest line that is read, as one row."""

BOM = b"\xef\xbb\xbf"
_FOREIGN = {
    b"\x1f\x8b": "gzip data: give the name the suffix .gz",
    b"\x28\xb5\x2f\xfd": "zstd data: give the name the suffix .zst",
    b"PAR1": "a Parquet file: give it the suffix .parquet, or set input.format to parquet",
    b"PK\x03\x04": "a zip archive or a spreadsheet: unpack it, or save it as CSV",
    b"\xff\xfe": "UTF-16 text: convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text: convert it to UTF-8",
}


@dataclass(frozen=True, slots=True)
class Overlong:
    """A line longer than the limit, of which only the start and the digest were kept."""

    size: int
    raw: bytes


def chunks(file: SourceFile, size: int = CHUNK, *, offset: int = 0, bom: bool = False) -> Iterator[bytes]:
    """Yield the file's bytes, decompressed, without a UTF-8 byte order mark unless `bom` wants it.

    `offset` is where to begin in a file that is not compressed.

    Raises InputError when the file cannot be read: it is damaged, cut short, or not what its
    suffix says. The message says after how many decompressed bytes.
    """
    done = 0
    try:
        with _opened(file) as stream:
            if offset:
                stream.seek(offset)
            while data := stream.read(size):
                yield data if done or offset else _checked_start(file, data, bom=bom)
                done += len(data)
    except ChangedObjectError as error:
        raise changed(file) from error
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, done, error) from error
    if file.compression and not file.kept.size:
        raise _unreadable(file, 0, OSError("the file is empty"))


def _opened(file: SourceFile) -> AbstractContextManager[IO[bytes]]:
    if file.compression is None:
        return file.kept.open()
    # Not the gzip module: pyarrow reads both kinds, members and frames in a row too, and checks the ends.
    stream: AbstractContextManager[IO[bytes]] = pa.CompressedInputStream(
        file.kept.for_arrow(), file.compression
    )
    return stream


def _checked_start(file: SourceFile, data: bytes, *, bom: bool) -> bytes:
    for magic, kind in _FOREIGN.items():
        if data.startswith(magic):
            what, _, fix = kind.partition(": ")
            raise InputError(f"{file.name} is read as {file.format}, but is {what}", hint=fix)
    return data if bom else data.removeprefix(BOM)


def _unreadable(file: SourceFile, done: int, error: Exception) -> InputError:
    if not file.compression:
        return InputError(
            f"{file.name}: cannot be read at byte {done:,}: {error}",
            hint="check its permissions and the disk",
        )
    if not done:
        return InputError(
            f"{file.name}: is no {file.compression} file: {error}",
            hint=f"drop the suffix {PurePosixPath(file.name).suffix} when the file is not compressed, "
            "or write it again",
        )
    return InputError(
        f"{file.name}: the {file.compression} data is damaged or cut short, "
        f"after {done:,} decompressed bytes: {error}",
        hint="copy or write the file again: none of its rows can be trusted until it reads to the end",
    )


def split_lines(parts: Iterable[bytes], limit: int = MAX_LINE) -> Iterator[list[bytes | Overlong]]:
    """Yield the lines of `parts`, without their b"\\n", in one list per part that ends any.

    Only b"\\n" ends a line. A line beyond `limit` bytes is skipped as it arrives, so that
    memory holds one part and one line of at most `limit` bytes.
    """
    line = _Line(limit)
    for part in parts:
        head, *rest = part.split(b"\n")
        line.add(head)
        if not rest:
            continue
        tail = rest.pop()
        yield [line.end(), *(rest if len(part) <= limit else (_whole(piece, limit) for piece in rest))]
        line = _Line(limit)
        line.add(tail)
    if line.size:
        yield [line.end()]


def _whole(piece: bytes, limit: int) -> bytes | Overlong:
    line = _Line(limit)
    line.add(piece)
    return line.end()


class _Line:
    """The line that the parts seen so far have not ended."""

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._limit = limit
        self._pieces: list[bytes] = []
        self._hash: hashlib.blake2b | None = None

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self._hash:
            self._hash.update(piece)
            self._pieces[0] += piece[: MAX_RAW - len(self._pieces[0])]
            return
        self._pieces.append(piece)
        if self.size > self._limit:
            whole = b"".join(self._pieces)
            self._hash = hashlib.blake2b(whole, digest_size=16)
            self._pieces = [whole[:MAX_RAW]]

    def end(self) -> bytes | Overlong:
        held = b"".join(self._pieces)
        self._pieces.clear()  # a line of 64 MB is held once, while it is worked on
        return Overlong(self.size, abbreviated(held, self._hash.hexdigest())) if self._hash else held
