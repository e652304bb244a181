"""A power cut at any instant loses no more than the last moments, and never the run folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.disk import EXTREMES, Chance, Disk, Extreme, content
from tests.reliability.power import power_cuts
from tests.reliability.recording import SHORT_LIFE
from tests.reliability.syscalls import Change, has_strace

needs_strace = pytest.mark.skipif(not has_strace(), reason="strace is missing")

ROOT = Path("/r")


@pytest.mark.long
@needs_strace
def test_power_cuts(tmp_path: Path) -> None:
    """Whatever was not synced may be gone: no answer older than the commit interval and an fsync is."""
    seen = power_cuts(tmp_path, states=4, life=SHORT_LIFE)
    assert seen.faults == []
    assert (seen.states, seen.lost, seen.repaid, seen.crashed, seen.duplicated) == (4, 0, 0, 0, 0)
    assert seen.syncs > 20


def change(
    kind: str, name: str, at: int, *, other: str = "", data: bytes = b"", offset: int | None = None
) -> Change:
    return Change(kind, ROOT / name, at, at + 0.5, ROOT / other if other else None, data, offset)


def states(*changes: Change, folder: Path, choice: Extreme | Chance) -> dict[str, bytes]:
    """The files of the folder after all changes and a power cut."""
    last = change("open", "last", 1_000)
    folder.mkdir()
    Disk(ROOT, [*changes, last]).write(len(changes), choice, folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_rename_before_the_data_is_synced_may_leave_an_empty_file(tmp_path: Path) -> None:
    """The bug that many programs had; with an fsync of the file and one of the folder it cannot be."""
    written = [change("open", "a.tmp", 1, offset=0), change("write", "a.tmp", 2, data=b"whole", offset=0)]
    moved = [change("rename", "a", 4, other="a.tmp"), change("sync", ".", 5)]
    synced = change("sync", "a.tmp", 3)
    none = Extreme(all_names=False, filled="none")
    assert states(*written, *moved, folder=tmp_path / "1", choice=none) == {"a": b""}
    assert states(*written, synced, *moved, folder=tmp_path / "2", choice=none) == {"a": b"whole"}
    assert states(*written, synced, moved[0], folder=tmp_path / "3", choice=none) == {}


@pytest.mark.parametrize("choice", [*EXTREMES, *map(Chance, range(20))])
def test_what_was_synced_is_always_there(tmp_path: Path, choice: Extreme | Chance) -> None:
    """And a write that an fsync under way did not see may be gone."""
    made = [
        change("open", "a", 1, offset=None),
        change("write", "a", 2, data=b"first"),
        Change("sync", ROOT, 3, 3.5),
        Change("write", ROOT / "a", 4.1, 4.2, data=b"second"),
        Change("sync", ROOT / "a", 4, 5),
    ]
    found = states(*sorted(made, key=lambda one: one.end), folder=tmp_path / "x", choice=choice)
    assert found["a"].startswith(b"first")
    assert len(found["a"]) <= len(b"firstsecond")


def test_writes_and_cuts_make_a_files_bytes() -> None:
    """A hole, and what a file is grown by, is zeros."""
    assert content(b"abc", [(5, b"x"), (1, None), (3, None), (0, b"z")]) == b"z\0\0"
