"""A submit that is killed loses nothing and pays for nothing twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.reliability.kills import CARRIED_ON, CONVERSATIONS, Kind, Tally, kill_and_resume


@pytest.mark.parametrize("kind", [CONVERSATIONS, CARRIED_ON], ids=lambda kind: kind.name)
def test_kill_and_resume(kind: Kind, tmp_path: Path) -> None:
    """What the files held at a kill is never asked again, every row is there once, nothing is left over."""
    kind, tally = replace(kind, rows=16, seal_rows=4), Tally()
    kill_and_resume(tmp_path, kind, kills=1, seed=5, tally=tally)
    assert tally.books.kills == 1
    assert tally.books.held(kind.places), tally.books.sentence()
    assert tally.calls >= 48
