"""Local copies of a run, each as a machine of its own has it, and what a submit does with one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchrun.remote.copies import LocalCopy
from batchrun.remote.leased_run import LeasedRun, held
from batchrun.remote.manifest import Manifest, read_manifest
from batchrun.storage import Address, open_store


class KilledError(BaseException):
    """As far as what stays behind goes, a kill."""


def copy_of(bucket: Address, folder: Path) -> LocalCopy:
    """A machine's copy of a run."""
    place = bucket.below("runs/job")
    return LocalCopy(place, folder / "job-0/job")


@contextmanager
def at_work(copy: LocalCopy, said: list[str] | None = None) -> Iterator[LeasedRun]:
    """Its run, taken as a submit does."""
    with held(copy, "job", (said if said is not None else []).append, ttl=3.0) as taken:
        copy.run.claim("job")
        yield taken


def append(copy: LocalCopy, line: str) -> None:
    """What a journal grows by."""
    with (copy.run.checkpoint_path / "journal-000001.log").open("a") as file:
        file.write(f"{line}\n")


def journal(copy: LocalCopy) -> list[str]:
    """Its lines."""
    return (copy.run.checkpoint_path / "journal-000001.log").read_text().split()


def newest(copy: LocalCopy) -> Manifest:
    """The newest state of a run."""
    found = read_manifest(open_store(copy.place))
    assert found is not None
    return found[0]
