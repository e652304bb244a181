"""An endpoint that goes down in the middle of a run: who waits, who leaves, who asks first afterwards."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.stack import OK, Says, ask, completion, raises, says

SLOW = says(200, completion(), after=1)
GONE = raises(httpx.ConnectError)
BUSY = says(503)
NARROW = {"model": {"model": "main/large", "limits": {"concurrency": 1}}}
ONE_FALLBACK = {"fallbacks": ["spare/small"]}


def test_an_endpoint_that_is_out_of_reach_costs_no_row_an_attempt_once_that_is_known(tmp_path: Path) -> None:
    """One after another: 5 calls that do not arrive, probes after 5, 10 and 20 s; then all are answered."""
    report = ask(tmp_path, {"main": [OK, *[GONE] * 7, OK], "spare": [OK]}, rows=10, **NARROW)
    assert report.outcomes == ["ok"] * 10
    calls = report.times["main"]
    opened = calls[5]
    assert calls[6:9] == pytest.approx([opened + 5, opened + 15, opened + 35], abs=0.01)


def test_rows_with_another_model_leave_at_once(tmp_path: Path) -> None:
    """20 rows: what was under way fails and goes on there; no probe is made for rows that need none."""
    report = ask(tmp_path, {"main": [OK, GONE], "spare": [SLOW]}, rows=20, **ONE_FALLBACK)
    assert report.outcomes == ["ok"] * 20
    assert len(report.times["spare"]) == 19
    assert max(report.times["spare"]) < 5


def test_rows_wait_where_the_reason_is_none_to_fall_back(tmp_path: Path) -> None:
    """`fallback_on` without connection: the spare model is not asked."""
    sections = {**ONE_FALLBACK, **NARROW, "fallback_on": ["server"]}
    report = ask(tmp_path, {"main": [OK, *[GONE] * 5, OK], "spare": [OK]}, rows=10, **sections)
    assert report.outcomes == ["ok"] * 10
    assert report.times["spare"] == []


@pytest.mark.parametrize("down", [GONE, BUSY])
def test_an_endpoint_that_stays_down_is_closed_after_its_probes(tmp_path: Path, down: Says) -> None:
    """4 probes in a row fail: the rows stay pending, but for those that had used their attempts."""
    report = ask(tmp_path, {"main": [OK, down], "spare": [OK]}, rows=40)
    assert set(report.outcomes) <= {"ok", "pending", "server"}
    assert report.outcomes.count("pending") >= 30
    assert (report.closed, report.goes_on) == (["main"], False)
