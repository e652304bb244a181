"""A run that is killed at a syscall on its own files goes on as if nothing had been."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.points import FIRST, PLACES, strike_every
from tests.reliability.traced import is_there

pytestmark = pytest.mark.skipif(not is_there(), reason="strace is missing")


def test_a_submit_can_be_killed_at_a_syscall(tmp_path: Path) -> None:
    """The first point of its trace and some later ones: nothing is lost, asked again or left over."""
    seen = strike_every(tmp_path, FIRST, every=80, cut_every=None)
    assert not seen.missed
    assert len(seen.hit) + seen.shadowed + len(seen.unreached) == seen.aimed
    assert len(seen.hit) >= 2
    assert seen.recorded > 1_000
    assert seen.books.held(PLACES), seen.books.sentence()
