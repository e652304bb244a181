"""A fifth of all calls goes wrong, and every row has its answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.reliability.faults import Weathered, weather


@pytest.mark.long
def test_every_row_survives_the_faults(tmp_path: Path) -> None:
    """429s, 500s, resets, stalls and malformed answers: all rows are answered, and no call breaks a
    Retry-After."""
    result = weather(tmp_path, rows=200)
    assert result.faulty > 0.1 * result.calls
    assert (result.ok, result.failed, result.lost, result.duplicated) == (200, 0, 0, 0)
    assert (result.too_early, result.exit_code) == (0, 0)
    assert result.held


@pytest.mark.parametrize(
    "broken",
    [
        {"ok": 9, "failed": 1, "exit_code": 1},
        {"ok": 9, "lost": 1},
        {"duplicated": 1},
        {"too_early": 1},
        {"exit_code": 3},
        {"exit_code": -9},
    ],
)
def test_each_thing_that_goes_wrong_shows(broken: dict[str, int]) -> None:
    """A failed row, one that is lost or doubled, an impatient call, and an end that is no success."""
    fair = Weathered(
        rows=10, lost=0, duplicated=0, ok=10, failed=0, calls=12, faulty=2, too_early=0, exit_code=0
    )
    assert fair.held
    assert not replace(fair, **broken).held
