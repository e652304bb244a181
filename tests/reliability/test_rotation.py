"""What is received while one journal file follows another is not paid for twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.rotation import fail_at
from tests.reliability.traced import is_there


@pytest.mark.long
@pytest.mark.skipif(not is_there(), reason="strace is missing")
def test_a_folder_that_cannot_be_synced_costs_no_answer(tmp_path: Path) -> None:
    """The file before is kept until the next one holds, on disk, what it carries."""
    seen = fail_at(tmp_path, 8)
    assert seen.codes == (3, 0)
    assert (seen.repaid, seen.lost) == (0, 0)
