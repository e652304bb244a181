"""Which files an input path means: a file, a glob or a folder, in the order they are read."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from batchrun.errors import InputError
from batchrun.source.files import MAGIC, Format, SourceFile, described, split_pattern
from batchrun.source.kept import OnDisk
from batchrun.source.remote import remote_files
from batchrun.storage import is_remote


def find_files(path: str, *, root: Path, format: Format | None) -> tuple[SourceFile, ...]:
    """The files that `path`, relative to `root`, stands for, sorted by their path's parts.

    A folder is searched to its full depth. In folders and globs, names that start with `.` or `_`
    are skipped (markers such as `_SUCCESS`), and `key=value` folders below the fixed part of the
    path become string columns, as Hive writes them.

    Raises InputError when nothing matches, or a file is of an unknown or of a different format.
    """
    files = remote_files(path, format) if is_remote(path) else _local_files(path, root, format)
    _refuse_mixture(files)
    return files


def _local_files(path: str, root: Path, format: Format | None) -> tuple[SourceFile, ...]:
    try:
        files = tuple(
            described(name, part, format, OnDisk.found(base / part))
            for base, name, part in _matches(path, root)
        )
    except OSError as error:
        raise InputError(
            f"input {path}: {error.strerror}: {error.filename}",
            hint="name files and folders that you may read",
        ) from error
    if not files:
        raise InputError(f"input {path}: no file to read there", hint=_nearest(path, root))
    return files


def _matches(path: str, root: Path) -> Iterator[tuple[Path, str, str]]:
    """(folder, its name in the job, file below it) for each file, in order."""
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
    fixed, wild = split_pattern(PurePosixPath(spelled).parts)
    folder, pattern = str(PurePosixPath(*fixed)), "/".join(wild)
    base = root / folder
    asked = any(part.startswith("_") for part in wild)
    found: set[str] = set()
    for match in glob.iglob(pattern, root_dir=base, recursive=True) if pattern else ():  # noqa: PTH207 - skips hidden names
        if not asked and any(part.startswith("_") for part in PurePosixPath(match).parts):
            continue
        if (base / match).is_dir():
            found.update(_below(base / match, base))
        elif (base / match).is_file():
            found.add(PurePosixPath(match).as_posix())
    return folder, found


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
    if MAGIC & set(path) or not target.parent.is_dir() or target.exists():
        return hint
    near = get_close_matches(target.name, [entry.name for entry in target.parent.iterdir()], n=1)
    return f"{hint}; did you mean {near[0]}?" if near else hint
