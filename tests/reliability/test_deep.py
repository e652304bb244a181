"""A run, its resume and the resume of that are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.deep import PLACES, chains
from tests.reliability.traced import is_there


@pytest.mark.long
@pytest.mark.skipif(not is_there(), reason="strace is missing")
def test_a_resume_can_be_killed(tmp_path: Path) -> None:
    """Two kills deep, at points drawn by chance: the third life finishes, and nothing was paid for twice."""
    seen = chains(tmp_path, 1, depth=2)
    assert seen.books.kills == 2
    assert seen.books.held(PLACES), seen.books.sentence()
