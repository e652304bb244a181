"""A submit that is killed loses nothing and pays for nothing twice."""

from __future__ import annotations

from pathlib import Path

from tests.reliability.kills import kill_and_resume


def test_kill_and_resume(tmp_path: Path) -> None:
    """What the checkpoint held an answer for at a kill is never asked again; every row is there once."""
    tally = kill_and_resume(tmp_path, rows=600, kills=5)
    assert tally.lost == 0
    assert tally.duplicated == 0
    assert tally.asked_again == 0
    assert tally.calls - tally.rows <= sum(tally.in_flight)
    assert all(tally.answers_at_kill)
