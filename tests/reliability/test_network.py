"""Networks and servers at their worst harm no row but their own, and never see a key that is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability import network
from tests.reliability.network import Seen, redirected, strike

SOME = ("RST before the end", "stall before headers", "gzip in gzip bomb", "204", "answer in br", "zstd bomb")


@pytest.mark.long
def test_each_row_ends_as_its_fault_says_and_the_others_have_their_answers(tmp_path: Path) -> None:
    """Six faults in one job: every struck call ends by its deadline, and 24 rows know nothing of it."""
    faults = {name: ends for group in _groups() for name, ends in group.items() if name in SOME}
    seen = Seen()
    strike(tmp_path, faults, seen, rows=30, megabytes=100)
    assert (seen.struck, seen.hung, seen.harmed, seen.wrong, seen.crashed) == (6, 0, 0, [], 0)
    assert seen.peak_mb < network.MOST_MB


def test_nobody_follows_a_redirect(tmp_path: Path) -> None:
    """One call tells that the address is wrong: the run ends with exit code 4, and the key went nowhere."""
    line = redirected(tmp_path, ["307 to another host"], 10)
    assert line.held
    assert line.note == "1 calls in all, 0 followed with the key or without"


@pytest.mark.parametrize("group", [*range(6)])
def test_every_fault_is_one_that_the_server_knows(group: int) -> None:
    """A misspelt one would strike nobody."""
    from tests.reliability.hostile import UNREAD
    from tests.reliability.hostile_acts import ACTS

    assert _groups()[group].keys() <= {*ACTS, *UNREAD}


def _groups() -> list[network.Expected]:
    return [
        network.CUT,
        network.SLOW,
        network.FLOODS,
        network.ODD,
        network.STREAMS,
        network.CONNECTIONS,
    ]
