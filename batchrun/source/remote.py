"""The objects that an input path means in object storage."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from batchrun.errors import InputError
from batchrun.source.files import Format, SourceFile, described, split_pattern
from batchrun.source.kept import InStorage
from batchrun.storage import Address, Listed, Store, open_store


def remote_files(path: str, format: Format | None) -> tuple[SourceFile, ...]:
    """The objects that `path` stands for: one, a glob, or all below it. Raises ObjectStorageError, too."""
    try:
        place = Address.parse(path)
    except ValueError as error:
        raise InputError(f"input {path}: {error}", hint="copy it there, or to this machine") from None
    store = open_store(place.root)
    base, found = _objects(place.key, store)
    files = tuple(
        described(str(base), part, format, InStorage(store, item.key, item.size, item.version))
        for part, item in sorted(found, key=lambda pair: PurePosixPath(pair[0]).parts)
    )
    if not files:
        raise InputError(
            f"input {path}: no object to read there",
            hint=f"name one that is there, a prefix or a glob; a tool for {place.scheme} lists what there is",
        )
    return files


def _objects(key: str, store: Store) -> tuple[Address, list[tuple[str, Listed]]]:
    """What a key stands for, and each object's name from there on."""
    if (found := store.about(key)) is not None:
        place = store.at.below(key)
        return place.parent, [(place.name, found)]
    fixed, pattern = split_pattern(key.split("/"))
    prefix = "/".join(fixed)
    skip = len(prefix) + 1 if prefix else 0
    asked = any(part.startswith("_") for part in pattern)
    below = [(item.key[skip:], item) for item in store.listing(prefix)]
    chosen = [
        (name, item)
        for name, item in below
        if _is_shown(name, asked=asked) and (not pattern or _is_match(name.split("/"), pattern))
    ]
    return store.at.below(prefix) if prefix else store.at, chosen


def _is_shown(name: str, *, asked: bool) -> bool:
    """Whether no part of a name is hidden (`.git`, `_SUCCESS`), unless a pattern has `asked` for `_`."""
    return not any(part.startswith("." if asked else (".", "_")) for part in name.split("/"))


def _is_match(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a pattern stands for an object, or a folder that it lies in; `**` is any number of parts."""
    if not pattern:
        return True
    if pattern[0] == "**":
        rest = pattern[1:]
        return any(_is_match(parts[at:], rest) for at in range(len(parts) + (not rest)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _is_match(parts[1:], pattern[1:])
