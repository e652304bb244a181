"""Edits between two submits, a few of the suite's."""

from __future__ import annotations

from pathlib import Path

from tests.reliability.changed import tried
from tests.reliability.edits import EDITS

PICKED = ("the same, without ids", "ids given to rows that had none", "an included file", "output")


def test_an_edit_costs_what_it_must_and_mixes_nothing(tmp_path: Path) -> None:
    """The exit code, the rows that are named, the calls of every way on, and of taking it back."""
    picked = {edit.name: edit for edit in EDITS if edit.name in PICKED}
    for seen in tried(tmp_path, list(picked.values())):
        assert (seen.wrong, seen.repaid, seen.mixed, seen.lost) == ([], 0, 0, 0), seen.edit.name


def test_no_two_edits_have_one_setup_and_name() -> None:
    """The table has at least forty different edits."""
    assert len({(edit.name, edit.setup) for edit in EDITS}) >= 40
