"""Which files an input path means: a file, a glob or a folder, in the order they are read."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias
from urllib.parse import unquote

from batchrun.errors import InputError

Format: TypeAlias = Literal["jsonl", "csv", "parquet", "openai-batch", "run"]
"""`run`: the results of another run."""

Compression: TypeAlias = Literal["gzip", "zstd"]

FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_MAGIC = frozenset("*?[")
_SUFFIXES = ".jsonl, .ndjson, .csv (each also with .gz or .zst) and .parquet"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the input; `path`, `size` and `mtime_ns` are its identity."""

    path: Path
    name: str
    """The file as the job spells it: what messages call it."""
    size: int
    """Bytes on disk."""
    mtime_ns: int
    format: Format
    compression: Compression | None
    hive: tuple[tuple[str, str | None], ...] = ()
    """The columns that `key=value` folders below the input path give to every row of the file."""


def find_files(path: str, *, root: Path, format: Format | None) -> tuple[SourceFile, ...]:
    """The files that `path`, relative to `root`, stands for, sorted by their path's parts.

    A folder is searched to its full depth. In folders and globs, names that start with `.` or `_`
    are skipped (markers such as `_SUCCESS`), and `key=value` folders below the fixed part of the
    path become string columns, as Hive writes them.

    Raises InputError when nothing matches, or a file is of an unknown or of a different format.
    """
    try:
        files = tuple(_described(base, name, part, format) for base, name, part in _matches(path, root))
    except OSError as error:
        raise InputError(
            f"input {path}: {error.strerror}: {error.filename}",
            hint="name files and folders that you may read",
        ) from error
    if not files:
        raise InputError(f"input {path}: no file to read there", hint=_nearest(path, root))
    _refuse_mixture(files)
    return files


def _matches(path: str, root: Path) -> Iterator[tuple[Path, str, str]]:
    """(folder, its name in the job, file below it) for each file, in order."""
    if "://" in path:
        raise InputError(f"input {path}: only local files can be read", hint="copy it to this machine first")
    spelled = os.path.expanduser(path)  # noqa: PTH111 - Path() would lose how the job spells it
    target = root / spelled
    if target.is_file():
        yield target.parent, str(PurePosixPath(spelled).parent), target.name
        return
    folder, found = _walk(spelled, target) if target.is_dir() else _glob(spelled, root)
    for part in sorted(found, key=lambda part: PurePosixPath(part).parts):
        yield root / folder, folder, part


def _walk(spelled: str, target: Path) -> tuple[str, set[str]]:
    return spelled, set(_below(target, target))


def _below(folder: Path, base: Path) -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir():
            yield from () if entry.is_symlink() else _below(entry, base)
        elif entry.is_file():
            yield entry.relative_to(base).as_posix()


def _glob(spelled: str, root: Path) -> tuple[str, set[str]]:
    parts = PurePosixPath(spelled).parts
    fixed = next((at for at, part in enumerate(parts) if _MAGIC & set(part)), len(parts))
    folder, pattern = str(PurePosixPath(*parts[:fixed])), "/".join(parts[fixed:])
    base = root / folder
    asked = any(part.startswith("_") for part in parts[fixed:])
    found: set[str] = set()
    for match in glob.iglob(pattern, root_dir=base, recursive=True) if pattern else ():  # noqa: PTH207 - skips hidden names
        if not asked and any(part.startswith("_") for part in PurePosixPath(match).parts):
            continue
        if (base / match).is_dir():
            found.update(_below(base / match, base))
        elif (base / match).is_file():
            found.add(PurePosixPath(match).as_posix())
    return folder, found


def _described(folder: Path, spelled: str, part: str, format: Format | None) -> SourceFile:
    path = folder / part
    name = str(PurePosixPath(spelled) / part).encode(errors="replace").decode()
    found, compression = _kind(path.name)
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
    stat = path.stat()
    return SourceFile(path, name, stat.st_size, stat.st_mtime_ns, kind, compression, _hive(part))


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


def _refuse_mixture(files: tuple[SourceFile, ...]) -> None:
    first = files[0]
    for file in files:
        if file.format != first.format:
            raise InputError(
                f"input mixes formats: {first.name} is {first.format}, {file.name} is {file.format}",
                hint="name the files of one format with a glob, such as 'folder/**/*.jsonl'",
            )


def _nearest(path: str, root: Path) -> str:
    target = root / Path(path).expanduser()
    hint = f"name a file that is there; relative paths start at the job's folder, {root}"
    if _MAGIC & set(path) or not target.parent.is_dir() or target.exists():
        return hint
    near = get_close_matches(target.name, [entry.name for entry in target.parent.iterdir()], n=1)
    return f"{hint}; did you mean {near[0]}?" if near else hint
