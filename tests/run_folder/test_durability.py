"""What is said to be on disk is, by its system calls; and what is damaged stays to be looked at."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest

from batchrun.clock import SystemClock
from batchrun.errors import StorageError
from batchrun.run_folder.checkpoint.checkpoint import Checkpoint
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.journal.reading import Damage
from tests.reliability.traced import is_there, record

straced = pytest.mark.skipif(not is_there(), reason="strace is missing")

REPLACE = """
import sys
from pathlib import Path
from batchrun.run_folder.disk import write_atomically
write_atomically(Path(sys.argv[1]) / "x.json", b"{}")
"""
ROTATE = """
import sys
from pathlib import Path
import anyio
from batchrun.clock import SystemClock
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.journal.records import Admitted
async def main():
    journal = Journal(Path(sys.argv[1]), 1, SystemClock())
    journal.append(Admitted({}))
    await journal.rotate(lambda: Admitted({}))
anyio.run(main)
"""


def made(code: str, folder: Path, trace: Path) -> list[tuple[str, str]]:
    """The system calls of some Python on the files of a folder, in order, each with the file's name."""
    folder.mkdir()
    recorded = record([sys.executable, "-c", code, str(folder)], folder, trace)
    return [(one.point.syscall, Path(one.point.path).name) for one in recorded]


@straced
def test_a_replaced_file_is_on_disk_with_its_name(tmp_path: Path) -> None:
    """Its bytes before it takes the name, and the folder that holds the name after that."""
    calls = made(REPLACE, tmp_path / "run", tmp_path / "trace")
    assert calls[-3:] == [("fsync", "x.json.tmp"), ("rename", "x.json.tmp"), ("fsync", "run")]


@straced
def test_a_closed_journal_file_and_the_next_one_are_on_disk(tmp_path: Path) -> None:
    """The records of before, the new file's name, and what it begins with."""
    calls = made(ROTATE, tmp_path / "run", tmp_path / "trace")
    last = max(at for at, (call, name) in enumerate(calls) if call == "write")
    synced = {name for call, name in calls[last:] if call == "fsync"}
    assert synced == {"journal-000001.log", "journal-000002.log"}
    made_at = next(at for at, call in enumerate(calls) if call == ("openat", "journal-000002.log"))
    assert ("fsync", "run") in calls[made_at:last]


def test_a_failed_sync_is_not_tried_again_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may have dropped the pages: a second one would say that all is well."""

    async def main() -> None:
        journal = Journal(tmp_path, 1, SystemClock())
        journal.failure = StorageError("it failed")
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)
        journal.close()
        assert synced == []

    anyio.run(main)


@pytest.mark.parametrize(("is_tail", "left"), [(True, []), (False, ["damaged-journal-000001.log"])])
def test_a_damaged_journal_file_is_kept_aside(tmp_path: Path, is_tail: bool, left: list[str]) -> None:
    """What was received may still be in it; an unfinished last line is what any kill leaves."""
    path = tmp_path / "journal-000001.log"
    path.write_bytes(b"damaged\n")
    found = Checkpoint(tmp_path, damage=[Damage(path, 2, 8, is_tail)], journals={1: path})
    found.retire_journals()
    assert [entry.name for entry in tmp_path.iterdir()] == left
