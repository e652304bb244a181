"""Which objects make up a run: one small object, replaced last and only by whoever replaced it before.

Objects that it names are never written again, so a reader of any manifest sees one whole state of the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from batchrun import codec
from batchrun.errors import RunFolderError
from batchrun.storage import Store, Version

KEY = "manifest.json"
FORMAT = 1

_NAME = re.compile(r"[^/\\\0]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the run: its size in bytes, the digest of its bytes, and the objects that hold them in turn,
    each with its size."""

    size: int
    digest: str
    pieces: tuple[tuple[str, int], ...]

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Entry:
        """It again."""
        pieces = tuple((str(key), int(size)) for key, size in document["pieces"])
        return cls(int(document["size"]), str(document["digest"]), pieces)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One state of a run.

    Attributes:
        epoch: of the lease under which it was written. A new holder writes the manifest that it finds anew
            with its own epoch, so that the one before can replace it no more.
        name: of its job.
        state: names what is in it beside that: no other upload has the same.
        told: what the submit had done when its files were looked at.
        files: by their path in the run folder.
        generation: the name of the generation of results, and `results` its parts by name.
        before: objects of the results of the generation before, which stay for those who read them.
        is_published: whether the results show every answer that there is.
    """

    epoch: int
    name: str
    state: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Entry] = field(default_factory=dict)
    generation: str = ""
    results: Mapping[str, Entry] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    is_published: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing was kept yet."""
        return not self.files

    def keys(self) -> Iterator[str]:
        """The objects that must stay."""
        for entry in [*self.files.values(), *self.results.values()]:
            yield from (key for key, _size in entry.pieces)
        yield from self.before

    def require_names(self) -> None:
        """Raises ValueError where a name would lead out of the run folder: others may write to a bucket."""
        files = [name.removeprefix("checkpoint/") for name in self.files]
        for name in (*files, *self.results, self.generation or "none"):
            if name in ("", ".", "..") or not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a file")

    def document(self) -> bytes:
        """As it is stored."""
        return codec.dumps({"format": FORMAT, **asdict(self)}) + b"\n"

    @classmethod
    def read(cls, data: bytes, place: str) -> Manifest:
        """It again. Raises RunFolderError for one that is damaged, or of a newer batchrun."""
        try:
            document = codec.loads(data)
            if document.pop("format") > FORMAT:
                raise RunFolderError(f"{place}: a newer batchrun wrote it", hint="Update batchrun.")
            entries = {
                part: {name: Entry.read(entry) for name, entry in document[part].items()}
                for part in ("files", "results")
            }
            found = cls(**{**document, **entries, "before": tuple(document["before"])})
            found.require_names()
            return found
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise RunFolderError(
                f"{place} is damaged: {error}",
                hint="It names the objects of the run: put an older version of it back, if the bucket keeps "
                "them, or submit to another output.path.",
            ) from error


def read_manifest(store: Store) -> tuple[Manifest, Version] | None:
    """The newest state of a run, and which writing of it that is; None before its first submit.

    Raises RunFolderError when it cannot be read, ObjectStorageError.
    """
    found = store.read_version(KEY)
    return found and (Manifest.read(found[0], f"{store.at}/{KEY}"), found[1])


def write_manifest(store: Store, manifest: Manifest, version: Version | None) -> Version:
    """Put it in the place of that `version`, or of none. Raises ConflictError where there is another now."""
    if version is None:
        return store.create(KEY, manifest.document())
    return store.replace(KEY, manifest.document(), version)
