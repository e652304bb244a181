"""A disk that is full or fails ends a run cleanly; the next submit goes on and pays for nothing twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.reliability.storage import FAULTS, few_files, injected
from tests.reliability.struck import served


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("strace"), reason="strace puts the errors in place")
def test_a_disk_that_is_full_for_a_moment_costs_nothing(tmp_path: Path) -> None:
    """The spare file gives way: what was in flight is stored, and the run stops."""
    with served(tmp_path) as make:
        seen = injected(make, FAULTS[0], 3)
    assert (seen.wrong, seen.exit_code, seen.extra) == ([], 3, 0)
    assert "the disk is full" in seen.text


@pytest.mark.long
def test_few_open_files_fail_no_row(tmp_path: Path) -> None:
    """Fewer calls go at once than the job allows: 200 under a limit of 96 files."""
    with served(tmp_path) as make:
        seen = few_files(make, 96)
    assert (seen.wrong, seen.exit_code) == ([], 0)
