"""Whatever goes wrong, and wherever it is killed: no run takes more than its cap."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.drawn import Kind, draw
from tests.reliability.money import spend

SOME: list[tuple[Kind, int]] = [
    ("cost_usd", 2),
    ("cost_usd", 4),
    ("tokens", 5),
    ("requests", 6),
]


@pytest.mark.long
@pytest.mark.parametrize(("kind", "seed"), SOME)
def test_the_ledger_never_has_more_than_the_cap(tmp_path: Path, kind: Kind, seed: int) -> None:
    """Nor much less: a run that stops has no room for the next call, and goes on when it is given some."""
    taken = spend(tmp_path, draw(seed, kind))
    assert not taken.wrong, taken.trial
    assert 0 < taken.truth <= taken.trial.cap
