"""The books of runs by batches where rows, functions, models and budgets are out of the ordinary."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from batchrun.batches.api import BatchApi
from batchrun.outcome import Response
from batchrun.policy.decision import RetryRules
from tests.batches.batched import COST, batched, provider_batches
from tests.runs import JobFolder, run_batchrun

TURNS = {"messages": [{"role": "user", "content": "{{ text }}"}], "turns": [{"content": "and then?"}]}
TOOL = '''
import itertools
N = itertools.count()
def add(a: int, b: int) -> int:
    """Add two numbers.

    a: one
    b: two
    """
    with open({ran!r}, "a") as file:
        file.write("x")
    return {says}
'''


def paid(job: JobFolder) -> float:
    return sum(call.answer.cost_usd or 0 for call in job.calls() if call.answer)


def same_prompt(job: JobFolder, rows: int) -> None:
    job.rows.write_text(
        "".join(json.dumps({"id": f"r{n}", "text": "row 000000: same", "n": n}) + "\n" for n in range(rows))
    )


@pytest.mark.parametrize("turns", [False, True])
def test_rows_with_the_same_prompt_keep_their_own_answers(tmp_path: Path, turns: bool) -> None:
    """A row that is asked again does not take the answer of another one, which was paid for."""
    sections: dict[str, Any] = {"prompt": TURNS} if turns else {}
    faults = [] if turns else [{"match": "same", "status": 500, "first": 1}]
    with batched(tmp_path, rows=2, config={"faults": faults}, engine={"max_lines": 1}, **sections) as job:
        same_prompt(job, 2)
        summary = job.submit_here()
        assert (summary.ok, len(job.calls())) == (2, 4 if turns else 3)
        assert summary.spent["cost_usd"] == pytest.approx(paid(job))


def test_many_rows_with_the_same_prompt_end_and_are_paid_once(tmp_path: Path) -> None:
    """Through all turns, in several batches."""
    with batched(tmp_path, rows=200, prompt=TURNS, engine={"max_lines": 70}) as job:
        same_prompt(job, 200)
        summary = job.submit_here()
        assert (summary.ok, summary.failed, summary.pending) == (200, 0, 0), summary.errors
        assert len(job.calls()) == 400
        assert summary.spent["cost_usd"] == pytest.approx(paid(job))


@pytest.mark.parametrize("says", ["a + b", "next(N)"])
def test_a_function_runs_once_for_each_call(tmp_path: Path, says: str) -> None:
    """What it gave is kept from one batch to the next, also where it would give something else now."""
    ran = tmp_path / "ran"
    (tmp_path / "tools.py").write_text(TOOL.format(ran=str(ran), says=says))
    tools = {"module": "tools.py", "functions": ["add"]}
    request = {"max_completion_tokens": 200}
    with batched(tmp_path, rows=20, run_tools=tools, request=request, budget={"requests": 400}) as job:
        summary = job.submit_here()
        assert (summary.ok, len(job.calls())) == (20, 40)
        made = sum(len(m.get("tool_calls") or ()) for row in job.results()["messages"] for m in row)
        assert len(ran.read_text()) == made


def test_a_soft_budget_is_held_roughly(tmp_path: Path) -> None:
    """What calls without a bound are likely to take is kept free, and batches wait for one another."""
    budget = {"cost_usd": 0.001, "soft": True}
    with batched(tmp_path, rows=2000, engine={"max_lines": 100}, request={}, budget=budget) as job:
        job.submit_here()
        assert paid(job) < 0.01


def test_a_soft_budget_that_holds_no_row_ends_the_run(tmp_path: Path) -> None:
    """A call without a bound is not sent where what it is likely to take is more than what is left."""
    budget = {"cost_usd": 0.0000001, "soft": True}
    with batched(tmp_path, rows=20, request={"temperature": 0}, budget=budget) as job:
        ended = run_batchrun("submit", str(job.job), timeout=20)
        assert ended.returncode == 3
        assert "raise budget.cost_usd" in ended.stderr
        assert provider_batches(job) == []


def over(job: JobFolder) -> None:
    """Wait until the provider has worked off all batches."""
    while any(one["status"] != "completed" for one in provider_batches(job)):
        time.sleep(0.02)


def test_rows_in_realtime_do_not_wait_for_what_a_batch_leaves_of_the_budget(tmp_path: Path) -> None:
    """Nobody looks at it meanwhile: the submit ends, and a later one goes on."""
    faults = [{"match": "row 000003", "status": 500, "first": 1}]
    sections: dict[str, Any] = {"config": {"faults": faults}, "budget": {"requests": 20}}
    engine = {"leftovers": "realtime", "poll": 0.05}
    with batched(tmp_path, rows=20, engine=engine, batches={"seconds": 2}, **sections) as job:
        assert job.submit_here(wait=False, limit=10).state == "waiting"
        over(job)
        ended = run_batchrun("submit", str(job.job), "--no-wait", timeout=20)
        assert ended.returncode == 3
        stopped_by = job.run_json()["stopped_by"]
        assert stopped_by["kind"] == "budget"
        assert "10 of 20 are made, 10 are kept for batches with the provider" in stopped_by["message"]
        assert stopped_by["message"].endswith("submit again to go on")
        job.edit(budget={"requests": 21})
        assert job.submit_here().ok == 20


def test_a_canary_has_what_batches_that_are_over_leave_of_the_budget(tmp_path: Path) -> None:
    """They are taken up before it."""
    with batched(tmp_path, rows=11, budget={"cost_usd": 1.0}) as job:
        job.submit_here(wait=False, limit=10)
        over(job)
        (record,) = job.checkpoint.glob("batch-*.json")
        job.edit(canary=1, budget={"cost_usd": json.loads(record.read_text())["bound_usd"]})
        ended = run_batchrun("submit", str(job.job), timeout=20)
        assert (ended.returncode, job.run_json()["ok"]) == (0, 11)


def test_a_table_in_another_order_keeps_the_batches_of_deduped_rows(tmp_path: Path) -> None:
    """Another row of those that ask the same may have become the one that is asked."""
    with batched(tmp_path, rows=40, dedupe=True, batches={"seconds": 0.5}) as job:
        lines = [
            json.dumps({"id": f"r{n}", "text": f"row {n % 20:06d}: x", "n": n}) + "\n" for n in range(40)
        ]
        job.rows.write_text("".join(lines))
        job.submit_here(wait=False)
        job.rows.write_text("".join(reversed(lines)))
        assert job.submit_here().ok == 40
        assert len(job.calls()) == 20


def test_the_retry_models_batch_counts_at_its_price_later(tmp_path: Path) -> None:
    """Also where the submit that fetches it does not name that model."""
    faults = [{"match": "row 000003", "model": "small", "status": 400}]
    prices = {"local/small": COST, "local/large": COST}
    with batched(
        tmp_path, rows=20, prices=prices, config={"models": ["small", "large"], "faults": faults}
    ) as job:
        job.submit_here()
        retry = frozenset({"invalid_request"})
        job.submit_here(wait=False, retry_failed=retry, retry_model=job.model("local/large"))
        time.sleep(0.3)
        summary = job.submit_here()
        assert summary.ok == 20
        assert summary.spent["cost_usd"] == pytest.approx(paid(job))
        assert job.results()["cost_usd"].null_count() == 0


def test_a_fallback_without_batches_does_not_end_the_run_without_results(tmp_path: Path) -> None:
    """Its rows go there in realtime, and the others are published."""
    faults = [{"match": "row 000003", "model": "small", "status": 400}]
    sections: dict[str, Any] = {"fallbacks": ["other/large"], "fallback_on": ["invalid_request"]}
    config = {"models": ["small", "large"], "faults": faults}
    with batched(tmp_path, rows=8, config=config, endpoints={"local": {}, "other": {}}, **sections) as job:
        here = job.endpoint()
        other = {"base_url": here["base_url"].replace("/v1", "/v2")}
        job.edit(endpoints={"local": here, "other": other})
        job.submit()
        assert job.run_json()["state"] != "running"
        assert len(job.results()) == 8


def test_rerun_rows_that_are_with_the_provider_are_fetched_by_a_plain_submit(tmp_path: Path) -> None:
    """The user has chosen before they were sent."""
    with batched(tmp_path, rows=20) as job:
        job.submit_here()
        job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }}!"}]})
        job.submit_here(wait=False, rerun_changed=True)
        assert job.submit_here().ok == 20
        assert len(job.calls()) == 40


def test_a_batch_is_found_in_a_list_that_begins_with_the_oldest() -> None:
    """Not every provider lists the newest first."""
    old = {"id": "old", "status": "completed", "created_at": 1, "input_file_id": "f0"}
    mine = {"id": "mine", "status": "validating", "created_at": 1000, "metadata": {"batchrun_batch": "n"}}

    class Lists:
        async def get(self, path: str, query: Any = None) -> Response:
            return Response(200, {}, json.dumps({"data": [old, mine]}).encode(), 0.0)

    api = BatchApi(Lists(), RetryRules(2, 10, 0.1, 0.1), None, lambda: 0.5)  # type: ignore[arg-type]
    found = asyncio.run(api.find("n", "f1"))
    assert found is not None


def test_a_canary_before_an_endpoint_without_batches_pays_for_no_more_rows(tmp_path: Path) -> None:
    """The rows that went in realtime are published; the others do not follow at the full price."""
    faults = [{"on": "upload", "act": "refuse", "status": 404}]
    with batched(tmp_path, rows=30, canary=4, batches={"faults": faults}) as job:
        summary = job.submit_here()
        assert summary.stopped_by is not None
        assert (summary.stopped_by.kind, summary.ok, summary.pending) == ("no_model", 4, 26)
        assert len(job.calls()) == 4


def test_what_is_kept_free_is_counted_at_the_price_of_a_batch(tmp_path: Path) -> None:
    """By the share that the job gives."""
    kept = []
    for share in (0.5, 1.0):
        (tmp_path / str(share)).mkdir()
        prices = {"local/small": {**COST, "batch": share}}
        with batched(tmp_path / str(share), rows=5, prices=prices, batches={"seconds": 30}) as job:
            job.submit_here(wait=False)
            (record,) = job.checkpoint.glob("batch-*.json")
            kept.append(json.loads(record.read_text())["bound_usd"])
    assert kept[1] == pytest.approx(2 * kept[0])
