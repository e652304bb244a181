"""A file of the input, and what its name says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias
from urllib.parse import unquote

from batchrun.errors import InputError
from batchrun.source.kept import Kept

Format: TypeAlias = Literal["jsonl", "csv", "parquet", "openai-batch", "run"]
"""`run`: the results of another run."""

Compression: TypeAlias = Literal["gzip", "zstd"]

FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
MAGIC = frozenset("*?[")
"""What makes a path a glob."""
_SUFFIXES = ".jsonl, .ndjson, .csv (each also with .gz or .zst) and .parquet"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the input."""

    kept: Kept
    name: str
    """The file as the job spells it: what messages call it."""
    format: Format
    compression: Compression | None
    hive: tuple[tuple[str, str | None], ...] = ()
    """The columns that `key=value` folders below the input path give to every row of the file."""


def changed(file: SourceFile) -> InputError:
    """What to raise for a file that is not the one any more that was found."""
    return InputError(
        f"{file.name}: the file has changed while it was in use",
        hint="submit again when it is complete: answers to rows that stay the same are kept",
    )


def split_pattern(parts: Sequence[str]) -> tuple[list[str], list[str]]:
    """A path's parts up to the first that has a wildcard, and the rest."""
    at = next((at for at, part in enumerate(parts) if MAGIC & set(part)), len(parts))
    return list(parts[:at]), list(parts[at:])


def described(spelled: str, part: str, format: Format | None, kept: Kept) -> SourceFile:
    """A file by its folder, as the job spells it, and its name below that.

    Raises InputError for an unknown format, and a compression that it cannot have.
    """
    whole = f"{spelled}/{part}" if "://" in spelled else str(PurePosixPath(spelled) / part)
    name = whole.encode(errors="replace").decode()
    found, compression = _kind(PurePosixPath(part).name)
    if format is None and found is None:
        raise InputError(
            f"input {name}: the format of the file is unknown; the known suffixes are {_SUFFIXES}",
            hint="rename it, or set input.format; in a folder, a glob such as 'folder/*.jsonl' "
            "leaves other files out, and so does a name that starts with _",
        )
    kind = format or found
    assert kind is not None  # refused above
    if kind == "parquet" and compression:
        raise InputError(
            f"input {name}: a compressed Parquet file cannot be read in place",
            hint="decompress it: Parquet compresses inside the file",
        )
    return SourceFile(kept, name, kind, compression, _hive(part))


def _kind(name: str) -> tuple[Format | None, Compression | None]:
    suffixes = [suffix.lower() for suffix in Path(name).suffixes[-2:]]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if compression:
        suffixes.pop()
    return (FORMATS.get(suffixes[-1]) if suffixes else None), compression


def _hive(part: str) -> tuple[tuple[str, str | None], ...]:
    pairs = (folder.partition("=") for folder in PurePosixPath(part).parts[:-1])
    found = {unquote(key): unquote(value) for key, equals, value in pairs if key and equals}
    return tuple((key, None if value == HIVE_NULL else value) for key, value in found.items())
