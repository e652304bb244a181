"""Hostile texts come out of a run as texts alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.outputs import lines


@pytest.mark.long
def test_nothing_hostile_gets_through(tmp_path: Path) -> None:
    """No character that a terminal obeys, no cell that is run, no element that data made."""
    assert [line.test for line in lines(tmp_path, full=False) if not line.held] == []
