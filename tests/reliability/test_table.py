"""The table says which promises held, which did not, and which nobody looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability import deep, points, power, storage
from tests.reliability.__main__ import Section
from tests.reliability.table import Line, is_broken, not_run, written

HELD = Line("kills", "5 kills", held=True, lost=0)
BROKEN = Line("flips", "5 flips", held=False, note="an answer is gone")
IDLE = not_run("power cuts", "strace is missing")


@pytest.mark.parametrize(
    ("lines", "broken", "last"),
    [
        ([HELD], False, "Every test ran."),
        ([HELD, IDLE], False, "1 of 2 tests did not run: power cuts."),
        ([IDLE, BROKEN], True, "1 of 2 tests did not run: power cuts."),
    ],
)
def test_what_was_not_run_neither_holds_nor_breaks(lines: list[Line], broken: bool, last: str) -> None:
    """The last line counts it."""
    assert is_broken(lines) is broken
    assert written(lines).splitlines()[-1] == last


def test_what_was_not_run_is_no_yes() -> None:
    """In the line's last cell."""
    assert [line.cells()[-1] for line in (HELD, BROKEN, IDLE)] == ["yes", "NO", "not run"]


@pytest.mark.parametrize("section", [deep.lines, points.lines, power.lines])
def test_without_strace_a_section_is_not_run(
    section: Section, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of its promises is said to hold."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (line,) = section(tmp_path, False)
    assert (line.size, line.held) == ("0", None)
    assert "strace is missing" in line.note


def test_without_mounts_and_strace_most_of_storage_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of it is."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(storage, "_limited", lambda *_: iter(()))  # those run anywhere, and take their time
    (folder := tmp_path / "storage").mkdir()
    lines = list(storage.lines(folder, False))
    assert [(line.test, line.held) for line in lines] == [
        ("errors of system calls", None),
        ("small and read-only disks", None),
    ]
