"""What a submit meets before its first call: plan says it, and submit does it."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from batchrun.cli.options import JobArguments
from batchrun.cli.summary import next_steps
from batchrun.job import load_job
from batchrun.submitting.options import Options
from batchrun.submitting.submit import submit
from batchrun.summary import Stop, Summary
from tests.planning.test_plan import again
from tests.runs import JobFolder, Silent, simulated

HOUR = {"faults": [{"model": "small", "status": 429, "retry_after": 3600}]}
LARGE: dict[str, Any] = {"fallbacks": ["local/large"]}
TWO: dict[str, Any] = {"endpoints": {"local": {}, "other": {}}, "fallbacks": ["other/large"]}


def test_plan_knows_that_the_endpoint_is_closed(tmp_path: Path) -> None:
    """After a Retry-After of an hour: until when, exit code 3, and so does the submit, without a call."""
    with simulated(tmp_path, rows=5, config=HOUR) as job:
        assert again(job).stops == ()
        first = job.submit_here()
        calls, found, stopped = len(job.calls()), again(job), job.submit_here()
        assert len(job.calls()) == calls
    assert (first.exit_code, found.exit_code, stopped.exit_code) == (3, 3, 3)
    (sentence,) = found.stops
    assert re.search(r"local: rate_limit: .* \(until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)\. ", sentence)
    assert found.opens is not None
    left = found.opens - datetime.now(UTC).timestamp()
    assert 3_500 < left <= 3_600
    assert (stopped.submit["calls"], stopped.stopped_by and stopped.stopped_by.kind) == (0, "no_model")


def test_a_closed_endpoint_is_a_warning_where_rows_go_elsewhere(tmp_path: Path) -> None:
    """Another endpoint takes them: nothing stops. Not where `fallback_on` keeps them."""
    with simulated(tmp_path, rows=30, config=HOUR, **TWO) as job:
        job.submit_here(limit=5)
        found = again(job)
        assert (found.stops, found.opens, found.exit_code) == ((), None, 0)
        assert [text for text in found.warnings if text.endswith("Until then rows go to other/large.")]
        job.edit(fallback_on=["server"])
        assert len(again(job).stops) == 1
        assert job.submit_here().submit["calls"] == 0


def test_what_is_done_needs_no_open_model(tmp_path: Path) -> None:
    """A plan of nothing to do has nothing that stops it."""
    with simulated(tmp_path, rows=2, config=HOUR, **TWO) as job:
        job.submit_here()
        job.edit(fallbacks=[])
        found = again(job)
    assert (found.to_do, found.stops, found.exit_code) == (0, (), 0)


BROKEN = {"faults": [{"status": 400}]}
QUICK: dict[str, Any] = {"endpoints": {"local": {"limits": {"concurrency": 4}}}}


def steps(summary: Summary) -> list[tuple[str, str]]:
    return next_steps(summary, JobArguments(Path("job.yaml")), rerun_changed=False)


@pytest.mark.parametrize("stop_when", [{}, {"after": 10}, {"after": 100}], ids=["as many", "fewer", "more"])
def test_a_canary_that_fails_names_itself(tmp_path: Path, stop_when: dict[str, Any]) -> None:
    """Also where the breaker would trip at the same row, or before; with what to do."""
    with simulated(tmp_path, rows=100, config=BROKEN, **QUICK, canary=20, stop_when=stop_when) as job:
        stopped = job.submit_here()
        assert len(job.calls()) <= 20
    assert stopped.stopped_by is not None
    assert stopped.stopped_by.kind == "canary"
    assert re.fullmatch(
        r"canary: (\d+) of the first \1 finished rows failed for good, more than the 50% that "
        r"stop_when\.failed allows; mend the cause, then submit with --retry-failed",
        stopped.stopped_by.message,
    )


def test_a_canary_that_has_failed_burns_no_further_rows(tmp_path: Path) -> None:
    """A plain submit stops again with the same words, and plan says so; a decision or an edit goes on."""
    with simulated(tmp_path, rows=100, config=BROKEN, **QUICK, canary=20) as job:
        first = job.submit_here().stopped_by
        found, again_stopped = again(job), job.submit_here()
        assert len(job.calls()) == 20
        assert again_stopped.stopped_by == first
        assert first is not None
        assert (found.stops, found.exit_code) == ((first.message,), 3)
        retried = job.submit_here(retry_failed=frozenset({"invalid_request"}))
        assert retried.submit["calls"] == 20, "the same rows are the canary"
        assert [label for label, _ in steps(again_stopped)] == ["to go on", "see failed"]
        job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }} now"}]})
        assert (again(job).stops, again(job).sends) == ((), True)
        assert job.submit_here().submit["calls"] == 20, "after an edit they are new rows"


def test_a_canary_whose_cause_may_have_passed_asks_again(tmp_path: Path) -> None:
    """Rows that the server failed wait for no decision: a plain submit begins with them."""
    faults = [{"match": f"row {row:06d}", "first": 1, "status": 500} for row in (3, 8, 13)]
    sections: dict[str, Any] = {"retry": {"max_attempts": 1}, "stop_when": {"failed": "10%"}}
    with simulated(tmp_path, rows=40, config={"faults": faults}, **QUICK, canary=20, **sections) as job:
        stopped = job.submit_here()
        assert stopped.stopped_by is not None
        assert stopped.stopped_by.message.endswith("; mend the cause, then submit again")
        assert again(job).stops == ()
        assert job.submit_here().ok == 40


def test_a_canary_is_judged_once(tmp_path: Path) -> None:
    """10 of 20 may fail: the next submit sends the rest without another canary."""
    faults = [{"match": f"row {row:06d}", "status": 400} for row in range(10)]
    with simulated(tmp_path, rows=60, config={"faults": faults}, **QUICK, canary=20) as job:
        job.submit_here(limit=20)
        job.edit(stop_when={"failed": "50%", "after": 100})
        done = job.submit_here()
    assert (done.ok, done.failed, done.stopped_by) == (50, 10, None)


UNPRICED: dict[str, Any] = {"budget": {"cost_usd": 0.001, "soft": True}}


def test_a_soft_cap_without_a_price_counts_nothing_and_says_so(tmp_path: Path) -> None:
    """Plan, with exit code 3, and the begin of the submit; what is spent is not known, not $0.00."""
    with simulated(tmp_path, rows=3, **UNPRICED) as job:
        found, env, progress = again(job), dict(os.environ), Silent()
        done = submit(load_job(job.job, env=env, cwd=job.folder), Options(), env=env, progress=progress)
    (sentence,) = found.over_budget
    assert sentence.startswith("budget.cost_usd: no price known for local/small: give it in prices: {local/")
    assert sentence.rstrip(".") in progress.said
    assert (found.exit_code, done.exit_code) == (3, 0)
    assert (done.spent["cost_usd"], done.spent["requests"]) == (None, 3)


def test_what_costs_nothing_is_known_to(tmp_path: Path) -> None:
    """A price of 0, before any call as well."""
    free = {"prices": {"local/small": {"input": 0, "output": 0}}}
    with simulated(tmp_path, rows=3, **UNPRICED, **free) as job:
        assert again(job).over_budget == ()
        assert job.submit_here().spent["cost_usd"] == 0.0


def test_a_cost_that_the_endpoint_reports_is_known(tmp_path: Path) -> None:
    """Without a price: the cap counts it, and plan learns from it."""
    config = {"cost": {"input": 3, "output": 15, "report": True}}
    with simulated(tmp_path, rows=6, config=config, **UNPRICED) as job:
        done = job.submit_here(limit=2)
        assert done.cost_usd is not None
        assert done.spent["cost_usd"] == pytest.approx(done.cost_usd)
        assert not [text for text in again(job).over_budget if "no price" in text]


def refused(job: JobFolder, **env: str) -> Stop:
    both = {**os.environ, **env}
    ended = submit(load_job(job.job, env=both, cwd=job.folder), Options(), env=both, progress=Silent())
    assert ended.stopped_by is not None
    assert ended.exit_code == 4
    return replace(ended.stopped_by)


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ({"api_key_env": "MY_KEY"}, "(the key in MY_KEY)"),
        ({"api_key_cmd": ["echo", "wrong-key-2"]}, "(the key that api_key_cmd prints)"),
        ({}, "(no key is sent: endpoints.local.api_key_env names the variable that holds one)"),
    ],
    ids=["variable", "command", "none"],
)
def test_a_refused_key_is_named(tmp_path: Path, endpoint: dict[str, Any], said: str) -> None:
    """By the variable or the command that it came from."""
    config = {"api_key": "right-key-1"}
    with simulated(tmp_path, rows=2, config=config, endpoints={"local": endpoint}) as job:
        message = refused(job, MY_KEY="wrong-key-1").message
    assert message.startswith("no model is left to ask: local: auth: ")
    assert message.endswith(said)
