"""From the local copy of a run to the bucket: what has changed is uploaded, then the manifest is replaced.

A file is uploaded whole as an object of its own, but for those that only grow, the journal and the log: of
them what has come since. Objects are never written twice, so that a submit that has lost its lease without
knowing cannot harm what its successor has written.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

from batchrun.remote.manifest import Entry, Manifest, read_manifest, write_manifest
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.journal.reading import journal_files
from batchrun.run_folder.room import SPARE_NAME
from batchrun.storage import ConflictError, Store, Version

UPLOADS = 8
"""Objects on their way at once."""

_PIECES = 64
"""Objects of one growing file, after which it is uploaded whole again."""

_LOCAL = frozenset({"lock", "live.json", SPARE_NAME})
"""Files of a checkpoint that mean something on this machine alone."""

_BESIDE = ("run.json", "job.yaml", "log.jsonl", "report.html")
"""Files of a run folder beside the checkpoint and the results."""

_EPOCH = re.compile(r"\.(\d{4,})-\d{6,}(?:\.\w+)?$")
"""In the key of an object: the epoch under which it was uploaded."""

_TRIES = 10
_BLOCK = 1_000_000

Mark: TypeAlias = tuple[int, int, int]
"""Of a file: inode, size and time of change. While they stay, its bytes do."""


@dataclass(slots=True)
class _Known:
    """A file as it was uploaded last."""

    entry: Entry
    mark: Mark | None = None
    """None where that was in another process."""
    hash: Any = None
    """Of a growing file's bytes so far."""


class Shipper:
    """Uploads one run. `manifest` is the newest state that is known to be there, and `version` which writing
    of it.

    Not for two threads at once.
    """

    def __init__(self, run: RunFolder, store: Store, manifest: Manifest, version: Version) -> None:
        self._run = run
        self._store = store
        self.manifest = manifest
        self._version = version
        self._known = {name: _Known(entry) for name, entry in manifest.files.items()}
        self._parts = {name: _Known(entry) for name, entry in manifest.results.items()}
        self._made = count(1)
        self._announced: list[str] = []
        """States since that one: whether they were written is not known, for no answer came."""

    def ship(
        self,
        told: Mapping[str, Any],
        announce: Callable[[Sequence[str]], None],
        *,
        is_published: bool = False,
    ) -> bool:
        """Make the bucket hold what the local copy holds now; whether there was anything new.

        `told` is what the submit had done before this began; `announce` is told the states one of which is
        about to be the newest; `is_published`, that the results show every answer. Raises ConflictError
        where another submit has written the manifest, ObjectStorageError and OSError.
        """
        state = f"{self.manifest.epoch:04d}-{next(self._made):06d}-{secrets.token_hex(4)}"
        now = replace(self.manifest, state=state, told=dict(told), is_published=is_published)
        now = replace(now, files=self._ship_files())
        if (generation := self._generation()) != now.generation or is_published:
            now = self._with_results(now, generation)
        if not self._announced and _content(now) == _content(self.manifest):
            return False
        self._announced.append(state)
        announce(self._announced)
        self._version = self._replaced_by(now)
        self.manifest = now
        self._announced = []
        return True

    def _replaced_by(self, now: Manifest) -> Version:
        """Write the manifest. It may be that an earlier writing was done whose answer never came: that one
        has this epoch, which is nobody else's. Raises as `ship`."""
        try:
            return write_manifest(self._store, now, self._version)
        except ConflictError:
            found = read_manifest(self._store)
            if found is None or found[0].epoch != now.epoch:
                raise
            return write_manifest(self._store, now, found[1])

    def sweep(self) -> None:
        """Remove objects of the run that neither the newest state nor the results before it need.

        None of a later epoch: another submit may have taken the run over without this one knowing yet.
        """
        wanted = set(self.manifest.keys())
        for folder in ("checkpoint", "results"):
            keys = [item.key for item in self._store.listing(folder)]
            self._store.remove(key for key in keys if key not in wanted and self._is_past(key))

    def _is_past(self, key: str) -> bool:
        found = _EPOCH.search(key)
        return found is not None and int(found[1]) <= self.manifest.epoch

    def _ship_files(self) -> dict[str, Entry]:
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):  # a journal file was sealed meanwhile
                return dict(self._uploaded(self._known, list(self._present())))
        return dict(self._uploaded(self._known, list(self._present())))

    def _present(self) -> Iterator[tuple[str, Path]]:
        """The files to keep, by name. Journals are listed before the parts that take their place, so that
        what is moved from one to the other meanwhile is in one of them."""
        checkpoint = self._run.checkpoint_path
        journals = list(journal_files(checkpoint).values())
        others = [path for path in checkpoint.iterdir() if path not in journals]
        for path in [*journals, *others]:
            is_ours = path.name not in _LOCAL and path.suffix != ".tmp"
            if is_ours and not (path.name.startswith("journal-") and path not in journals):
                yield f"checkpoint/{path.name}", path
        for name in _BESIDE:
            if (self._run.path / name).exists():
                yield name, self._run.path / name

    def _generation(self) -> str:
        results = self._run.results
        return results.readlink().name if results.is_symlink() else ""

    def _with_results(self, now: Manifest, generation: str) -> Manifest:
        folder = self._run.generations / generation
        parts = (
            [(f"results/{path.name}", path) for path in sorted(folder.glob("*.parquet"))]
            if generation
            else []
        )
        known = {f"results/{name}": one for name, one in self._parts.items()}
        found = dict(self._uploaded(known, parts))
        results = {name.removeprefix("results/"): entry for name, entry in found.items()}
        self._parts = {name: known[f"results/{name}"] for name in results}
        if results == now.results:
            return replace(now, generation=generation)
        kept = {key for entry in results.values() for key, _size in entry.pieces}
        before = {key for entry in now.results.values() for key, _size in entry.pieces}
        return replace(now, generation=generation, results=results, before=tuple(sorted(before - kept)))

    def _uploaded(
        self, known: dict[str, _Known], files: list[tuple[str, Path]]
    ) -> Iterator[tuple[str, Entry]]:
        """Each file with the objects that hold it, uploaded where they did not yet."""
        with ThreadPoolExecutor(UPLOADS) as pool:
            uploads = [pool.submit(self._upload, name, path, known.get(name)) for name, path in files]
            for (name, _path), upload in zip(files, uploads, strict=True):
                known[name] = upload.result()
                yield name, known[name].entry

    def _upload(self, name: str, path: Path, known: _Known | None) -> _Known:
        if path.suffix in (".log", ".jsonl"):
            return self._upload_grown(name, path, known)
        with path.open("rb") as file:
            mark = _mark(os.fstat(file.fileno()))
            if known and known.mark == mark:
                return known
            digest = hashlib.file_digest(file, _hash).hexdigest()
            if known and known.entry.digest == digest:
                return _Known(known.entry, mark)
            file.seek(0)
            key = self._put(name, path if mark[1] > _BLOCK else file.read())
        return _Known(Entry(mark[1], digest, ((key, mark[1]),)), mark)

    def _upload_grown(self, name: str, path: Path, known: _Known | None) -> _Known:
        """A file that is only appended to: its whole lines that are not there yet."""
        with path.open("rb") as file:
            state = known.hash if known else None
            done = known.entry.size if known else 0
            if known and state is None:  # uploaded by another process
                state = _hash_of(file, done)
                if state.hexdigest() != known.entry.digest:
                    known, done = None, 0
            if known is None or state is None:
                state = _hash()
            file.seek(done)
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        pieces = known.entry.pieces if known else ()
        if not data and known:
            return _Known(known.entry, None, state)
        if len(pieces) >= _PIECES:
            data, pieces, state = path.read_bytes()[: done + len(data)], (), _hash()
        state = state.copy()  # an upload that fails has changed nothing
        state.update(data)
        pieces = (*pieces, (self._put(name, data), len(data)))
        return _Known(Entry(sum(size for _key, size in pieces), state.hexdigest(), pieces), None, state)

    def _put(self, name: str, data: bytes | Path) -> str:
        """Upload under a name that no other object of the run has, whoever writes it: an epoch is one
        process's. As `results/part-00000.0001-000003.parquet`."""
        folder, _, file = (name if "/" in name else f"checkpoint/{name}").rpartition("/")
        stem, dot, suffix = file.rpartition(".")
        key = f"{folder}/{stem}.{self.manifest.epoch:04d}-{next(self._made):06d}{dot}{suffix}"
        self._store.write(key, data)
        return key


def _content(manifest: Manifest) -> tuple[object, ...]:
    return manifest.files, manifest.results, manifest.is_published


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)


def _hash_of(file: Any, size: int) -> Any:
    """Of the first bytes of a file."""
    state = _hash()
    while size > 0 and (block := file.read(min(size, _BLOCK))):
        state.update(block)
        size -= len(block)
    return state


def digest_of(path: Path) -> str:
    """The digest of a local file, as an Entry has it."""
    with path.open("rb") as file:
        return str(hashlib.file_digest(file, _hash).hexdigest())


def _mark(stat: os.stat_result) -> Mark:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
