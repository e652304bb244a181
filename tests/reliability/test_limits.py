"""Rate limits hold across a kill: the next submit is charged with what the last minute sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.limits import kill_within_the_window
from tests.runs import asked, simulated


@pytest.mark.long
def test_limits_hold_across_a_kill(tmp_path: Path) -> None:
    """A server that counts requests in its own window of 60 s never refuses one, before or after the kill."""
    paced = kill_within_the_window(tmp_path, rpm=240, calls=36)
    assert paced.refused == 0
    assert paced.calls >= 36
    assert paced.most_in_a_minute <= 240


def test_a_retry_after_holds_across_submits(tmp_path: Path) -> None:
    """A Retry-After above max_wait closes the endpoint for the next submit as well, which sends nothing."""
    config = {"faults": [{"calls": [1, 1], "status": 429, "retry_after": 30}]}
    with simulated(tmp_path, rows=5, config=config, retry={"max_wait": 5}) as job:
        for _ in range(2):
            summary = job.submit_here()
            assert (summary.exit_code, summary.pending) == (3, 5)
            assert summary.stopped_by is not None
            assert "until" in summary.stopped_by.message
        assert len(job.calls()) == 1


@pytest.mark.parametrize("limits", [{"rpm": 240}, {"tpm": 24_000}])
def test_models_have_limits_of_their_own(tmp_path: Path, limits: dict[str, int]) -> None:
    """A limit in the model's mapping holds for that model, whatever its endpoint allows."""
    with simulated(
        tmp_path, rows=8, config={"limits": limits}, model={"model": "local/small", "limits": limits}
    ) as job:
        assert job.submit_here().ok == 8
        assert all(len(calls) == 1 for calls in asked(job.calls()).values())
