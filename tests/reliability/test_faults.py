"""A fifth of all calls goes wrong, and every row is accounted for."""

from __future__ import annotations

from pathlib import Path

from tests.reliability.faults import weather


def test_every_row_survives_the_faults(tmp_path: Path) -> None:
    """429s, 500s, resets, stalls and malformed answers: all rows end, and no call breaks a Retry-After."""
    result = weather(tmp_path, rows=200)
    assert result.ok + result.failed == result.rows
    assert result.faulty > 0.1 * result.calls
    assert result.too_early == 0
    assert result.exit_code == (1 if result.failed else 0)
