"""The pace of real runs, by the ledger of a server that counts in windows of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.pacing import Case, pace
from tests.runs import simulated

CASES = [Case(1.0, "mixed", windows=4), Case(1.0, "small", count="actual", killed=True, windows=4)]


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_run_keeps_the_pace_of_its_server(tmp_path: Path, case: Case) -> None:
    """Every row is answered, nobody comes back early, and limits in force are used.

    How near to the ideal, and that nothing is refused, is asserted on a simulated clock (`test_limits`): a
    window of a second has 30 ms for what this machine may delay a call, and other tests run on it too.
    """
    seen = pace(tmp_path, case)

    assert seen.ok
    assert seen.too_early == 0
    assert seen.refused <= 0.1 * seen.calls
    assert seen.share >= 0.3


def test_a_day_that_is_used_up_closes_the_model(tmp_path: Path) -> None:
    """The run stops, can be resumed, and says until when; nothing is sent for the server to refuse."""
    config = {"limits": {"rpm": 1000, "rpd": 5, "headers": "cerebras"}}
    with simulated(tmp_path, rows=8, config=config) as job:
        summary = job.submit_here()
        again = job.submit_here()
        assert [call.answer.status for call in job.calls() if call.answer] == [200] * 5

    assert (summary.exit_code, summary.ok, summary.pending) == (3, 5, 3)
    assert summary.stopped_by is not None
    assert "limit of 5 requests is used up" in summary.stopped_by.message
    assert "until" in summary.stopped_by.message
    assert (again.exit_code, again.pending) == (3, 3)


def test_a_day_that_is_used_up_sends_rows_to_the_fallback(tmp_path: Path) -> None:
    """Where another model is left, it answers the rest."""
    config = {"limits": {"rpm": 1000, "rpd": 5, "headers": "cerebras"}}
    with simulated(tmp_path, rows=8, config=config, fallbacks=["local/other"]) as job:
        summary = job.submit_here()

    assert (summary.exit_code, summary.ok) == (0, 8)
    models = job.results()["model_index"].to_list()
    assert (models.count(0), models.count(1)) == (5, 3)
