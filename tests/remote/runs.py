"""Jobs whose runs are kept in object storage, submitted on machines that have nothing in common but that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

import batchrun
from batchrun.remote.manifest import Manifest, read_manifest
from batchrun.run_folder.folder import RunFolder
from batchrun.storage import Address, Store, copy_path, open_store
from tests.runs import JobFolder, asked, simulated


@dataclass(frozen=True, slots=True)
class Machine:
    """Where submits run: `disk` is all that it has of its own."""

    job: JobFolder
    place: Address
    disk: Path

    def start(
        self, *, interval: float = 0.3, lease: float = 3.0, seal_rows: int = 50, drain: float = 5.0
    ) -> subprocess.Popen[str]:
        """A submit in a process of its own."""
        command = [sys.executable, "-m", "tests.remote.driver", str(self.job.job)]
        return subprocess.Popen(
            [*command, str(interval), str(lease), str(seal_rows), str(drain)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_STATE_HOME": str(self.disk)},
        )

    def submit(self, **options: Any) -> Ended:
        """A submit to its end."""
        return Ended.of(self.start(**options))

    @property
    def run(self) -> RunFolder:
        """Its copy of the run."""
        return RunFolder(copy_path(self.place, {"XDG_STATE_HOME": str(self.disk)}))

    def lose_disk(self) -> None:
        """Throw away all that it has."""
        shutil.rmtree(self.disk, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a submit ended, and what it said."""

    code: int
    rows: tuple[int, ...]
    said: str

    @classmethod
    def of(cls, process: subprocess.Popen[str], timeout: float = 90) -> Ended:
        """Wait for it."""
        out, err = process.communicate(timeout=timeout)
        return cls(process.returncode, tuple(map(int, out.split())), err)


@dataclass(frozen=True, slots=True)
class Remote:
    """A job whose run is kept at `place`."""

    job: JobFolder
    place: Address

    def machine(self, name: str) -> Machine:
        return Machine(self.job, self.place, self.job.folder / name)

    @property
    def store(self) -> Store:
        return open_store(self.place)

    def manifest(self) -> Manifest:
        """The newest state of the run."""
        found = read_manifest(self.store)
        assert found is not None
        return found[0]

    def results(self) -> pl.DataFrame:
        """The rows as a machine sees them that has had nothing to do with the run."""
        return batchrun.scan_results(str(self.place)).collect()

    def answered(self) -> dict[int, int]:
        """How many good answers each row was given, as the simulator has it."""
        return {
            row: sum(call.answer is not None and call.answer.status == 200 for call in calls)
            for row, calls in asked(self.job.calls()).items()
        }


@contextmanager
def remote_job(
    folder: Path, bucket: Address, *, rows: int, config: Mapping[str, Any] | None = None, **sections: Any
) -> Iterator[Remote]:
    """A job of `rows` rows whose run is kept in `bucket`, and the simulator that it asks."""
    place = bucket.below("runs/job")
    output = {"path": str(place), **sections.pop("output", {})}
    with simulated(folder, rows=rows, config=config, output=output, **sections) as job:
        yield Remote(job, place)


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    """Return as soon as it holds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never held"
        time.sleep(0.02)
