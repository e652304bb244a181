"""Local copies of runs in object storage: where one lies, and what is known of it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from batchrun import codec
from batchrun.errors import RunFolderError
from batchrun.remote.fetching import fetch
from batchrun.remote.manifest import KEY, Manifest
from batchrun.remote.shipping import digest_of
from batchrun.run_folder.checkpoint.sealed import sealed_parts
from batchrun.run_folder.disk import storage_error, write_atomically
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.journal.reading import journal_files
from batchrun.run_folder.lock import locked_in_turn
from batchrun.storage import Address, Store

_PATIENCE = 600.0
"""Seconds to wait for another one on this machine that is fetching the same run."""


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """The copy of the run at `place`: `path` is its run folder, which lies in a folder of its own."""

    place: Address
    path: Path

    @property
    def run(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.path)

    @property
    def lock(self) -> Path:
        """The file whose flock a submit on this machine holds from before it fetches."""
        return self.path.parent / "lock"

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold what whoever brings the copy up to date holds, a submit or a reader, one after the other.

        Raises RunLockedError where another one takes minutes for it.
        """
        with locked_in_turn(self.path.parent / "turn", str(self.place), _PATIENCE):
            yield

    @property
    def _about(self) -> Path:
        return self.path.parent / "remote.json"

    def make(self) -> None:
        """Make the folder around it. Raises RunFolderError where that is not allowed."""
        try:
            self.path.parent.mkdir(0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"cannot make the local copy of {self.place} in {self.path.parent}: {error.strerror}",
                hint="Give output.local_path a folder that you may write to.",
            ) from error

    def synced(self) -> Manifest | None:
        """The state of the run that the copy was last the same as; None where it never was."""
        with suppress(OSError, ValueError, LookupError, TypeError, RunFolderError):
            known = codec.loads(self._about.read_bytes())
            if known["place"] == str(self.place) and self.path.is_dir():
                return Manifest.read(known["synced"].encode(), KEY)
        return None

    def holder(self) -> str:
        """By what name this copy takes the lease: the same one after a kill. Raises StorageError."""
        with suppress(OSError, ValueError, LookupError, TypeError):
            return str(codec.loads(self._about.read_bytes())["holder"])
        holder = secrets.token_hex(8)
        self.note(holder, None)
        return holder

    def note(self, holder: str, synced: Manifest | None, *, coming: Sequence[str] = ()) -> None:
        """Remember both, and the states that may have been uploaded from here since. Raises StorageError."""
        text = synced.document().decode() if synced else ""
        about = {"place": str(self.place), "holder": holder, "synced": text, "coming": list(coming)}
        write_atomically(self._about, codec.dumps(about))

    def _goes_on_from(self, manifest: Manifest) -> bool:
        """Whether that state was fetched into the copy or uploaded from it. After a kill nobody knows which
        of the uploads that were about to be finished has been."""
        synced = self.synced()
        if synced is None:
            return False
        coming = codec.loads(self._about.read_bytes()).get("coming") or []
        states = [coming] if isinstance(coming, str) else coming  # one, as it was noted once
        return manifest.state in (synced.state, *states)

    def bring_up(self, store: Store, manifest: Manifest, *, say: Callable[[str], None]) -> None:
        """Make the copy the run as `manifest` has it, unless it already is that or goes on from it.

        What was received here and never uploaded, before another machine went on with the run, is put
        aside. For whose turn it is. Raises StorageError, also ObjectStorageError, and RunFolderError.
        """
        if manifest.is_empty or self._goes_on_from(manifest):
            return
        try:
            self._replace(store, manifest, say)
        except OSError as error:
            raise storage_error(error, self.path.parent) from error

    def _replace(self, store: Store, manifest: Manifest, say: Callable[[str], None]) -> None:
        fresh = self.path.with_name(f"{self.path.name}.fetched")
        fetch(store, manifest, fresh, self.path)
        older = self.path.with_name(f"{self.path.name}.replaced")
        shutil.rmtree(older, ignore_errors=True)
        if self.path.exists():
            aside = self._aside(manifest) if self._holds_more(self.synced(), manifest) else None
            if aside is not None:
                say(
                    "another machine has gone on with this run: what had been received here and was never "
                    f"uploaded is not part of it any more, and is kept in {aside}"
                )
            self.path.rename(
                aside or older
            )  # by renames: whoever reads it now finds all but an instant of it
        fresh.rename(self.path)
        shutil.rmtree(older, ignore_errors=True)

    def _aside(self, manifest: Manifest) -> Path:
        """A name that nothing has yet."""
        names = (
            f"{self.path.name}.before-{manifest.epoch:04d}{more}"
            for more in chain([""], map("-{}".format, count(2)))
        )
        return next(path for name in names if not (path := self.path.with_name(name)).exists())

    def _holds_more(self, synced: Manifest | None, manifest: Manifest) -> bool:
        """Whether the copy has records that were never uploaded."""
        checkpoint = self.run.checkpoint_path
        if not checkpoint.is_dir():
            return False
        uploaded = [*manifest.files.values(), *(synced.files.values() if synced else ())]
        digests = {entry.digest for entry in uploaded}
        records = [*journal_files(checkpoint).values(), *sealed_parts(checkpoint).values()]
        return any(digest_of(path) not in digests for path in records)
