"""A run at full speed asks each row once, and its files do not pile up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.soak import plot, soak


@pytest.mark.long
def test_a_run_at_full_speed(tmp_path: Path) -> None:
    """Every row is asked once, and sealing keeps the journal short."""
    seen = soak(tmp_path, rows=6_000)

    assert seen.exit_code == 0
    assert seen.ok == seen.calls == seen.rows
    assert seen.peak_mb < 300
    assert len(plot(seen.samples).splitlines()) > 1
