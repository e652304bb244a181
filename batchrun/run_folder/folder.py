"""Where everything in a run folder lies, and how one is made or recognised."""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchrun import codec
from batchrun.errors import RunFolderError, StorageError
from batchrun.run_folder.damaged import readable
from batchrun.run_folder.disk import is_of_disk, storage_error, sync_folder, unfinished, write_atomically
from batchrun.run_folder.journal.format_version import FIRST_VERSION, FORMAT_VERSION, check_version

GENERATIONS = "generations"

FRAMES = "input-*.parquet"
"""Frames that were given as input, each named by its content."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run folder."""

    path: Path

    @property
    def checkpoint_path(self) -> Path:
        """The engine's own: journal, sealed parts, index, lock."""
        return self.path / "checkpoint"

    @property
    def lock(self) -> Path:
        """The file whose flock a running submit holds."""
        return self.checkpoint_path / "lock"

    @property
    def identity_path(self) -> Path:
        """Which job the folder belongs to."""
        return self.checkpoint_path / "job.json"

    @property
    def results(self) -> Path:
        """The symlink to the newest generation of results."""
        return self.path / "results"

    @property
    def generations(self) -> Path:
        """The folder of published generations."""
        return self.path / GENERATIONS

    @property
    def published(self) -> str:
        """The name of the generation that `results` points to; empty before the first publication."""
        return self.results.readlink().name if self.results.is_symlink() else ""

    @property
    def run_json(self) -> Path:
        """State, counts, usage, cost and latency of the run."""
        return self.path / "run.json"

    @property
    def job_yaml(self) -> Path:
        """The job as submitted."""
        return self.path / "job.yaml"

    @property
    def pause(self) -> Path:
        """There while a running submit is to send nothing."""
        return self.path / "pause"

    @property
    def live(self) -> Path:
        """How a running submit stands, as it says every second; gone when it has ended."""
        return self.checkpoint_path / "live.json"

    @property
    def log(self) -> Path:
        """The run's events, a JSON line each."""
        return self.path / "log.jsonl"

    def claim(self, job_name: str) -> None:
        """Make the folder this job's, or check that it is.

        Raises RunFolderError when it belongs to another job, holds something else, cannot be written to,
        or has a folder in place of the link to the results; StorageError when the disk is full or fails.
        """
        try:
            self.path.mkdir(0o700, parents=True, exist_ok=True)
            self._check_owner()
            with _by_turns(self.path):  # of two submits that start together one makes it, the other finds it
                self._make(job_name)
        except OSError as error:
            if is_of_disk(error):
                raise storage_error(error, self.path) from error
            raise RunFolderError(
                f"cannot write to the run folder {self.path}: {error.strerror}",
                hint="Give output.path a folder that you may write to.",
            ) from error
        except StorageError as error:
            if is_of_disk(error.__cause__):
                raise
            raise RunFolderError(
                error.message, hint="Give output.path a folder that you may write to and that has room."
            ) from error

    def _check_owner(self) -> None:
        """The owner could read the answers, and write what is taken for answers. Root may use any folder."""
        if os.geteuid() not in (0, self.path.stat().st_uid):
            raise RunFolderError(
                f"the run folder {self.path} belongs to another user",
                hint="Give output.path a folder of your own, or this job another --name.",
            )

    def _make(self, job_name: str) -> None:
        if self.identity_path.exists():
            owner = self._known()["name"]
            if owner != job_name:
                raise RunFolderError(
                    f"{self.path} holds the run of another job, {owner!r}",
                    hint=f"Give this job ({job_name!r}) another output.path, or another --name.",
                )
            self._check_results()
            return
        if not self._is_unused():
            raise RunFolderError(
                f"{self.path} is not empty and holds no run of batchrun",
                hint="Give output.path a folder that is new or empty.",
            )
        for folder in (self.path, self.checkpoint_path, self.generations):
            folder.mkdir(0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        sync_folder(self.path)
        _sync_above(self.path.resolve())  # before the identity, by which the next submit skips all this
        identity = _identity_of(job_name, secrets.token_hex(8))
        write_atomically(self.identity_path, codec.dumps(identity) + b"\n")

    def _check_results(self) -> None:
        """No rename puts a link in place of a folder: better to say so before anything is asked."""
        if self.results.is_dir() and not self.results.is_symlink():
            raise RunFolderError(
                f"{self.results} is a folder, where the link to the newest results has its place",
                hint="A copy that follows links makes one (`rsync -L`, `zip`). Remove or rename it: "
                f"mv {shlex.quote(str(self.results))} {shlex.quote(str(self.results) + '-copied')}\n"
                "The answers are in checkpoint, and the next submit publishes them anew.",
            )

    def stamp(self) -> None:
        """Mark the folder as one that this version writes to: from here on no older one may read it.

        For the holder of the lock alone. Raises RunFolderError when it is damaged or newer than us,
        StorageError when the disk refuses it.
        """
        known = self._known()
        ours = _identity_of(known["name"], known.get("id") or secrets.token_hex(8))
        if known != ours:
            write_atomically(self.identity_path, codec.dumps(ours) + b"\n")

    @property
    def run_id(self) -> str:
        """What no other run is called: providers are told it of what they keep of this one.

        Raises RunFolderError when the folder is damaged or newer than us, or of a version before ids.
        """
        if found := self._known().get("id"):
            return str(found)
        raise RunFolderError(
            f"{self.path} was made by a batchrun that did not label what it sent",
            hint="Its next submit gives it an id; `stored` takes --all, and --metadata or --model to choose.",
        )

    def _known(self) -> dict[str, Any]:
        """What the folder says of itself. Raises RunFolderError when that is damaged, or newer than us."""
        with readable(self.identity_path):
            known: dict[str, Any] = {"name": None, **codec.loads(self.identity_path.read_bytes())}
        check_version(known.get("format", FIRST_VERSION), self.identity_path)
        return known

    def _is_unused(self) -> bool:
        """Whether the folder is empty, or holds what a `claim` cut short left."""
        ours = {self.checkpoint_path.name, self.generations.name}
        left = {unfinished(self.identity_path).name}
        return all(
            path.name in ours and path.is_dir() and {inner.name for inner in path.iterdir()} <= left
            for path in self.path.iterdir()
        )

    def require(self) -> None:
        """Raises RunFolderError when there is no run here, or one that a newer batchrun wrote."""
        if not self.identity_path.exists():
            raise RunFolderError(
                f"there is no run in {self.path}",
                hint="Start one with `batchrun submit JOB.yaml`, or name the run folder itself.",
            )
        self._known()

    def read_run_json(self) -> dict[str, Any]:
        """What `run.json` says; empty before the first submit wrote it."""
        try:
            document = codec.loads(self.run_json.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}


@contextmanager
def _by_turns(folder: Path) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a network filesystem: `lock.locked` says so
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextmanager
def storage_of(run: RunFolder) -> Iterator[None]:
    """Whatever the disk refuses to a run, also where it reads, ends it as StorageError."""
    try:
        yield
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else ""
        raise storage_error(error, Path(name) if name else run.path, doing="use") from error


def _identity_of(job_name: str | None, run_id: str) -> dict[str, Any]:
    return {"name": job_name, "id": run_id, "format": FORMAT_VERSION}


def _sync_above(folder: Path) -> None:
    """Make the names of a folder and of those above it survive a power cut: any of them may be new."""
    device = folder.stat().st_dev
    for above in folder.parents:
        if above.stat().st_dev != device:
            return
        with suppress(PermissionError):  # what may not be read was not made by this user
            sync_folder(above)
