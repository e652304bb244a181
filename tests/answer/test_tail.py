"""The end of a run: stragglers are sent a second time, and the time that a submit may take is kept."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.runs import asked, simulated

QUICK = {"local": {"limits": {"concurrency": 16}}}


def straggler(match: str, seconds: float = 30.0) -> dict[str, object]:
    """The first call of one row takes long; a second one of the same does not."""
    return {"match": match, "first": 1, "stall": seconds}


def test_a_straggler_is_sent_a_second_time_and_does_not_hold_the_run(tmp_path: Path) -> None:
    """One of 100 calls hangs for 30 s; its copy answers at once, and the row says what both were."""
    config = {"faults": [straggler("row 000042")], "latency": {"kind": "constant", "seconds": 0.02}}
    with simulated(tmp_path, rows=100, config=config, endpoints=QUICK, tail={"hedge_after": "p99"}) as job:
        started = time.monotonic()
        summary = job.submit_here()
        seconds = time.monotonic() - started
        calls = asked(job.calls())
    assert seconds < 15
    assert (summary.ok, summary.failed, summary.submit["hedged"]) == (100, 0, 1)
    assert {row: len(of_row) for row, of_row in calls.items() if len(of_row) > 1} == {42: 2}
    row = job.results().filter(row_index=42).to_dicts()[0]
    assert [(a["http_status"], a["error_type"], a["sent"]) for a in row["attempts"]] == [
        (None, "cancelled", True),
        (200, None, True),
    ]
    assert summary.possibly_paid == 1, "the provider may bill the call that was given up"


def test_the_first_call_may_win_too(tmp_path: Path) -> None:
    """Its copy is then given up: one answer, one result, and nothing is left under way."""
    slow = {"match": "row 000007", "stall": 1.5}
    config = {"faults": [slow], "latency": {"kind": "constant", "seconds": 0.02}}
    with simulated(tmp_path, rows=60, config=config, endpoints=QUICK, tail={"hedge_after": "p90"}) as job:
        summary = job.submit_here()
        again = job.submit_here()
    assert (summary.ok, summary.submit["hedged"]) == (60, 1)
    row = job.results().filter(row_index=7).to_dicts()[0]
    assert [a["error_type"] for a in row["attempts"]] == [None, "cancelled"]
    assert row["completion"]
    assert (again.submit["calls"], again.possibly_paid) == (0, 1)


def test_nothing_is_sent_twice_without_being_asked_to(tmp_path: Path) -> None:
    config = {"faults": [straggler("row 000003", 1.0)]}
    with simulated(tmp_path, rows=60, config=config, endpoints=QUICK) as job:
        assert job.submit_here().submit["hedged"] == 0
        assert len(job.calls()) == 60


def test_a_copy_is_not_sent_where_the_budget_does_not_hold_it(tmp_path: Path) -> None:
    """60 requests may be made, and 60 rows are asked: the straggler is waited for."""
    config = {"faults": [straggler("row 000003", 2.0)]}
    with simulated(
        tmp_path,
        rows=60,
        config=config,
        endpoints=QUICK,
        tail={"hedge_after": "p50"},
        budget={"requests": 60},
    ) as job:
        summary = job.submit_here()
        assert (summary.ok, len(job.calls())) == (60, 60)


@pytest.mark.long
def test_the_wall_time_is_kept_and_the_run_goes_on_later(tmp_path: Path) -> None:
    """Sending stops before the time is over, so that what is under way can land within it."""
    config = {"latency": {"kind": "constant", "seconds": 0.5}}
    endpoints = {"local": {"limits": {"concurrency": 4}}}
    with simulated(tmp_path, rows=40, config=config, endpoints=endpoints) as job:
        job.edit(budget={"wall_time": "3s"})
        started = time.monotonic()
        first = job.submit_here()
        assert time.monotonic() - started < 4.5
        assert first.stopped_by is not None
        assert (first.stopped_by.kind, first.exit_code, first.state) == ("wall_time", 3, "stopped")
        assert 0 < first.ok < 40
        job.edit(budget={})
        second = job.submit_here()
        assert (second.ok, second.exit_code) == (40, 0)
        assert len(job.calls()) <= 40 + 4


def test_the_wall_time_is_kept_when_something_else_has_stopped_the_run(tmp_path: Path) -> None:
    """A failed row stops the run at once; the call that is under way then still ends with the time."""
    faults = [{"match": "row 000009", "status": 400}, {"match": "row 000005", "stall": 60}]
    endpoints = {"local": {"limits": {"concurrency": 4}}}
    config = {"faults": faults, "latency": {"kind": "constant", "seconds": 0.1}}
    with simulated(tmp_path, rows=40, config=config, endpoints=endpoints) as job:
        job.edit(budget={"wall_time": "3s"}, stop_when={"failed": 0, "after": 1})
        started = time.monotonic()
        summary = job.submit_here()
        assert time.monotonic() - started < 4.5
    assert (summary.stopped_by.kind if summary.stopped_by else None) == "breaker"


@pytest.mark.parametrize(("bad", "kind"), [(12, "canary"), (10, None)])
def test_the_canary_rows_are_judged_before_the_rest_is_sent(
    tmp_path: Path, bad: int, kind: str | None
) -> None:
    """Of 20 first rows 12 fail: more than half, so that the other 180 are not paid for."""
    faults = [{"match": f"row {row:06d}", "status": 400} for row in range(bad)]
    with simulated(
        tmp_path, rows=200, config={"faults": faults}, endpoints=QUICK, canary=20, stop_when={"after": 100}
    ) as job:
        summary = job.submit_here()
        calls = len(job.calls())
    assert (summary.stopped_by.kind if summary.stopped_by else None) == kind
    assert (calls, summary.exit_code) == ((20, 3) if kind else (200, 1))


def test_the_canary_is_not_asked_for_twice(tmp_path: Path) -> None:
    """A run that has as many answers already goes on at full speed: no row waits for the first 20."""
    with simulated(tmp_path, rows=80, endpoints=QUICK, canary=20) as job:
        job.submit_here(limit=30)
        job.edit(stop_when={"failed": 0, "after": 100})
        assert job.submit_here().ok == 80
