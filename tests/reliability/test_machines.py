"""Machines that vanish with their disks take nothing that was uploaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.machines import Seen, vanish
from tests.remote.server import s3_server


@pytest.mark.long
def test_a_run_outlives_its_machines(tmp_path: Path) -> None:
    """Killed and thrown away, while the store fails now and then: nothing uploaded is asked for again."""
    seen = Seen()
    with s3_server() as server:
        vanish(tmp_path, server, 2, seen)
    assert (seen.lost, seen.duplicated, seen.repaid, seen.crashed) == (0, 0, 0, 0), seen.wrong
    assert seen.kills
