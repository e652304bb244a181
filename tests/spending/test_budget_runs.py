"""What submits do under a budget: refusals, stops, what counts, and what the results say of money."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batchrun.budget import Amounts, Spend
from batchrun.errors import JobError
from batchrun.gc import collect
from batchrun.job import load_job
from batchrun.run_folder.checkpoint.spend import keep_dropped
from batchrun.run_folder.folder import RunFolder
from tests.runs import JobFolder, simulated
from tests.submits.test_openai_batch import batch, line

PRICE = {"input": 3.0, "output": 15.0}
PRICED: dict[str, Any] = {"prices": {"local/small": PRICE}}
DEAR = {"cost_usd": 100}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
SPOKEN = {
    "request": {
        "max_completion_tokens": 20,
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "wav"},
    },
    "prices": {"local/small": {**PRICE, "input_audio": 100.0, "output_audio": 1.0}},
}
BOUNDLESS = "what a request to local/small takes has no upper bound: "
PASSES = " Set budget.soft: true to let it pass."


def messages(*parts: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "{{ text }}"}, *parts]}]}


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        (
            {"prices": {}},
            "no price known for local/small: give it in prices: {local/small: "
            "{input: …, output: …}}, or let it pass with budget.soft: true.",
        ),
        (
            {"request": {}},
            f"{BOUNDLESS}the answer's length has no limit: set request.max_completion_tokens.{PASSES}",
        ),
        (
            {"prompt": messages(PICTURE)},
            f"{BOUNDLESS}messages.0 has a part of type image_url, whose tokens are not known before.{PASSES}",
        ),
        (
            {"prompt": {**messages(), "turns": [{"content": "again"}]}, **SPOKEN},
            f"{BOUNDLESS}later calls of a row repeat its spoken answers, whose tokens are not known before."
            f"{PASSES}",
        ),
    ],
    ids=["no price", "no max tokens", "media", "spoken answers that are repeated"],
)
def test_a_cap_that_cannot_be_kept_is_refused_before_the_first_call(
    tmp_path: Path, sections: dict[str, Any], sentence: str
) -> None:
    """Exit code 2, with the line of `budget` and what to do; `soft` lets the same job go."""
    with simulated(tmp_path, rows=3, **{**PRICED, **sections}, budget=DEAR) as job:
        with pytest.raises(JobError) as refused:
            job.submit_here()
        place, _, said = str(refused.value).partition(": budget.cost_usd: ")
        assert (said, refused.value.exit_code) == (sentence, 2)
        assert re.fullmatch(r".*/job\.yaml:[0-9]+", place)
        assert job.calls() == []
        job.edit(budget={**DEAR, "soft": True})
        assert job.submit_here().ok == 3


@pytest.mark.parametrize("prices", [{}, PRICED["prices"]], ids=["no price", "a price"])
def test_a_cap_on_tokens_does_not_ask_what_is_open_about_the_price(
    tmp_path: Path, prices: dict[str, Any]
) -> None:
    """Another model may answer, at another price, and takes no more tokens; a cap on USD is refused."""
    request = {"max_completion_tokens": 20, "extra_body": {"models": ["a/b", "c/d"]}}
    with simulated(tmp_path, rows=3, request=request, prices=prices, budget={"tokens": 1_000_000}) as job:
        summary = job.submit_here()
        assert (summary.ok, summary.exit_code, summary.stopped_by) == (3, 0, None)
        job.edit(budget=DEAR)
        with pytest.raises(JobError, match="no price known" if not prices else "at another price"):
            job.submit_here(name="other")


def test_a_soft_budget_stops_as_well_once_it_is_used_up(tmp_path: Path) -> None:
    """Requests without an upper bound go while anything is left; the last ones may pass the cap."""
    with simulated(
        tmp_path,
        rows=40,
        **PRICED,
        request={},
        endpoints={"local": {"limits": {"concurrency": 1}}},
        budget={"cost_usd": 0.002, "soft": True},
    ) as job:
        stopped = job.submit_here()
    assert (stopped.exit_code, stopped.state) == (3, "stopped")
    assert stopped.spent["cost_usd"] >= 0.002
    assert 0 < stopped.ok < 40


@pytest.mark.parametrize("kind", ["requests", "tokens", "cost_usd"])
def test_a_stopped_run_goes_on_when_its_cap_is_raised(tmp_path: Path, kind: str) -> None:
    """It says which cap, how much of it is gone and what to do; no row is asked twice."""
    caps: dict[str, Any] = {"requests": 7, "tokens": 1_800, "cost_usd": 0.008}
    with simulated(tmp_path, rows=60, config={"cost": PRICE}, **PRICED, budget={kind: caps[kind]}) as job:
        stopped = job.submit_here()
        first = len(job.calls())
        assert stopped.stopped_by is not None
        assert (stopped.exit_code, stopped.stopped_by.kind) == (3, "budget")
        assert stopped.stopped_by.message.startswith(f"budget.{kind}: ")
        assert stopped.stopped_by.message.endswith(f"; raise budget.{kind} to go on")
        assert 0 < stopped.ok == first < 60
        still = job.submit_here()
        assert (still.exit_code, still.submit["calls"]) == (3, 0)
        job.edit(budget={kind: caps[kind] * 100})
        assert job.submit_here().state == "finished"
        assert len(job.calls()) == 60


def test_a_cap_on_requests_is_met_exactly(tmp_path: Path) -> None:
    """Refusals and lost answers count, too: the endpoint has received so many calls and no more."""
    faults = [{"rate": 0.3, "status": 500}, {"rate": 0.2, "reset": "mid_body"}]
    retry = {"backoff": {"initial": 0.01, "max": 0.02}}
    with simulated(tmp_path, rows=60, config={"faults": faults}, retry=retry, budget={"requests": 37}) as job:
        stopped = job.submit_here()
        assert stopped.exit_code == 3
        assert len(job.calls()) == stopped.spent["requests"] == 37


def test_each_submit_has_its_own_budget(tmp_path: Path) -> None:
    """With `per: submit`; what earlier submits took is only shown."""
    with simulated(tmp_path, rows=10, budget={"requests": 4, "per": "submit"}) as job:
        ends = [job.submit_here() for _ in range(3)]
        assert [(end.exit_code, end.submit["calls"]) for end in ends] == [(3, 4), (3, 4), (0, 2)]
        assert [end.spent["requests"] for end in ends] == [4, 8, 10]
        assert ends[0].stopped_by is not None
        assert "budget.requests: 4 of 4 of this submit are made" in ends[0].stopped_by.message


def test_each_day_has_its_own_budget(tmp_path: Path) -> None:
    """With `per: day`: what was sent on other days does not count, and what was sent today does."""
    today = datetime.now(UTC)
    earlier = Spend.on((today - timedelta(days=1)).timestamp(), Amounts(requests=1_000))
    for day in (today, today + timedelta(days=1)):  # it may be midnight in a moment
        earlier += Spend.on(day.timestamp(), Amounts(requests=3))
    with simulated(tmp_path, rows=10, budget={"requests": 5, "per": "day"}) as job:
        RunFolder(job.run).claim("job")
        keep_dropped(job.checkpoint, {"others": earlier})
        stopped = job.submit_here()
        assert (stopped.exit_code, len(job.calls())) == (3, 2)
        assert stopped.stopped_by is not None
        assert stopped.stopped_by.message.endswith("raise budget.requests to go on, or submit again tomorrow")


def test_what_gc_drops_stays_spent(tmp_path: Path) -> None:
    """Answers to an older prompt go; their money is gone all the same."""
    with simulated(tmp_path, rows=4, config={"cost": PRICE}, **PRICED, budget={"requests": 8}) as job:
        job.submit_here()
        job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }} Be brief."}]})
        before = job.submit_here(rerun_changed=True).spent
        assert before["cost_usd"] == pytest.approx(truth(job))
        assert collect(load_job(job.job, env={}, cwd=job.folder)).answers == 4
        job.edit(prompt={"messages": [{"role": "user", "content": "{{ text }} Be kind."}]})
        stopped = job.submit_here(rerun_changed=True)
        assert (stopped.exit_code, stopped.submit["calls"], stopped.spent) == (3, 0, before)


def test_a_limited_submit_spends_from_the_same_budget(tmp_path: Path) -> None:
    """Ten rows with `--limit 3`, and then the rest as far as the cap allows."""
    with simulated(tmp_path, rows=10, budget={"requests": 8}) as job:
        limited = job.submit_here(limit=3)
        assert (limited.exit_code, limited.spent["requests"]) == (0, 3)
        rest = job.submit_here()
        assert (rest.exit_code, rest.submit["calls"], rest.ok, rest.pending) == (3, 5, 8, 2)


def truth(job: JobFolder) -> float:
    """USD by the ledger."""
    return sum(call.answer.cost_usd or 0.0 for call in job.calls() if call.answer)


def test_what_rows_cost_is_price_times_usage(tmp_path: Path) -> None:
    """Cached tokens at their own price; rows, the run and the submit add up to what the ledger has."""
    prices = {**PRICE, "cached": 0.3}
    prompt = {"messages": [{"role": "user", "content": "again and " * 700 + "{{ text }}"}]}
    with simulated(
        tmp_path,
        rows=12,
        config={"cost": prices, "cache": {}},
        prices={"local/small": prices},
        prompt=prompt,
        endpoints={"local": {"limits": {"concurrency": 1}}},
    ) as job:
        summary = job.submit_here()
        rows = job.results().to_dicts()
        assert sum(row["usage"]["cached_tokens"] for row in rows) > 10_000
        for row in rows:
            used = row["usage"]
            fresh = used["prompt_tokens"] - used["cached_tokens"]
            by_hand = fresh * 3.0 + used["cached_tokens"] * 0.3 + used["completion_tokens"] * 15.0
            assert row["cost_usd"] == pytest.approx(by_hand / 1e6, rel=1e-12)
        costs = {summary.cost_usd, summary.spent["cost_usd"], summary.submit["cost_usd"]}
        assert all(cost == pytest.approx(truth(job)) for cost in costs)
        assert job.run_json()["spent"] == summary.spent


def test_what_the_server_says_a_call_cost_wins(tmp_path: Path) -> None:
    """It bills, and the job's prices may be old."""
    config = {"cost": {"input": 7.0, "output": 70.0, "report": True}}
    with simulated(tmp_path, rows=5, config=config, **PRICED, budget=DEAR) as job:
        summary = job.submit_here()
        assert summary.cost_usd == pytest.approx(truth(job))
        assert summary.spent["cost_usd"] == pytest.approx(truth(job))
        assert job.results()["cost_usd"].sum() == pytest.approx(truth(job))


def test_a_call_without_an_answer_is_held_at_its_bound_after_a_kill(tmp_path: Path) -> None:
    """Three calls may be made: one hangs when the submit is killed, so two are left to the next one."""
    stall = {"match": "row 000000", "first": 1, "stall": 60}
    with simulated(
        tmp_path, rows=5, config={"faults": [stall], "cost": PRICE}, **PRICED, budget={"requests": 3}
    ) as job:
        with subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
            while not job.calls():
                time.sleep(0.02)
            killed.send_signal(signal.SIGKILL)
        stopped = job.submit_here()
        assert (stopped.exit_code, stopped.submit["calls"], len(job.calls())) == (3, 2, 3)
        assert stopped.spent["requests"] == 3
        held = stopped.spent["cost_usd"] - (stopped.submit["cost_usd"] or 0.0)
        assert held > 1_000 * 3.0 / 1e6, "a token a byte, what a template adds, and 20 tokens of answer"
        job.edit(budget={"requests": 30})
        finished = job.submit_here()
        assert (finished.ok, len(job.calls())) == (5, 6)
        assert finished.spent["cost_usd"] - finished.cost_usd == pytest.approx(held), "still held"


def test_rows_that_name_their_model_pay_its_price(tmp_path: Path) -> None:
    """A file of whole requests: each model's own price; one without a price is refused before a call."""
    prices = {"local/small": PRICE, "local/large": {"input": 30.0, "output": 150.0}}
    with simulated(tmp_path, rows=0) as job:
        batch(job, line("a"), line("b", model="large"), prices=prices, budget=DEAR)
        summary = job.submit_here()
        costs = job.results()["cost_usd"].to_list()
        assert costs[1] == pytest.approx(10 * costs[0])
        assert summary.spent["cost_usd"] == pytest.approx(sum(costs))
        job.rows.write_text("".join(json.dumps(line(name, model=name)) + "\n" for name in ("small", "other")))
        with pytest.raises(JobError, match="no price known for local/other"):
            job.submit_here()


def test_conversations_under_way_are_kept_when_the_budget_ends(tmp_path: Path) -> None:
    """Rows of three turns stop in the middle and stay pending; afterwards no turn is asked twice."""
    with simulated(
        tmp_path,
        rows=12,
        config={"latency": {"kind": "uniform", "low": 0.01, "high": 0.05}},
        prompt={
            "messages": [{"role": "user", "content": "{{ text }}"}],
            "turns": [{"content": "and then?"}, {"content": "why?"}],
        },
        endpoints={"local": {"limits": {"concurrency": 4}}},
        budget={"requests": 16},
    ) as job:
        stopped = job.submit_here()
        assert (stopped.exit_code, len(job.calls())) == (3, 16)
        assert stopped.ok + stopped.pending == 12
        assert stopped.pending > 0
        job.edit(budget={"requests": 36})
        finished = job.submit_here()
        assert (finished.exit_code, finished.ok, len(job.calls())) == (0, 12, 36)
        assert len({call.key for call in job.calls()}) == 36, "each turn of each row once"


def test_a_copy_of_a_straggler_holds_up_no_row(tmp_path: Path) -> None:
    """Nothing of the budget is left for the copy: the rows behind it go on, and the run ends."""
    config = {"faults": [{"match": "row 000003", "first": 1, "stall": 2}]}
    with simulated(
        tmp_path, rows=40, config=config, **PRICED, tail={"hedge_after": "p50"}, budget={"requests": 40}
    ) as job:
        summary = job.submit_here()
        assert (summary.ok, len(job.calls())) == (40, 40)


def test_the_shell_sees_3_and_json_has_what_is_spent(tmp_path: Path) -> None:
    """The run can be continued."""
    with simulated(tmp_path, rows=5, budget={"requests": 2}) as job:
        stopped = job.submit("--json")
        assert stopped.code == 3
        document = json.loads(stopped.out)
        assert document["stopped_by"]["kind"] == "budget"
        assert document["spent"]["requests"] == 2
