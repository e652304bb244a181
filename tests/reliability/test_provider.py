"""The section on batches, at its smallest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.provider import Seen, batch


@pytest.mark.long
def test_a_run_by_batches_outlives_kills(tmp_path: Path) -> None:
    """Two runs, some kills: no row is lost or answered twice, and the books agree."""
    seen = Seen()
    for seed in (1, 2):
        batch(tmp_path / str(seed), seed, seen)
    assert (seen.lost, seen.duplicated, seen.repaid, seen.crashed) == (0, 0, 0, 0), seen.wrong
    assert seen.kills
