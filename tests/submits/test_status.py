"""`status`: the counts that a submit gave, and what the run took."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from batchrun import codec
from batchrun.run_folder.folder import RunFolder
from batchrun.status.status import Status, status
from batchrun.wording import usd
from tests.commands import batchrun
from tests.runs import JobFolder, simulated

FAILING = {"faults": [{"match": "F", "status": 400}]}
PRICED: dict[str, Any] = {"prices": {"local/small": {"input": 10, "output": 100}}}
BUDGET: dict[str, Any] = {"budget": {"cost_usd": 5, "tokens": 100_000, "requests": 500}}


def state_of(job: JobFolder) -> Status:
    return status(RunFolder(job.run))


def write_texts(job: JobFolder, letters: str) -> None:
    """A row for each letter."""
    rows = [json.dumps({"text": letter, "n": at}) for at, letter in enumerate(letters)]
    job.rows.write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("order", ["input", "prefix"])
@pytest.mark.parametrize(
    "tables",
    [
        ("AAB", "AB", "AAB", "AABA"),
        ("AAB", "B", "AB", "AAB"),
        ("AFF", "FA", "AFFF"),
        ("AAAB", "AAB", "AAAAB"),
    ],
)
def test_rows_without_ids_are_counted_as_submit_counts_them(
    tmp_path: Path, tables: tuple[str, ...], order: str
) -> None:
    """Equal requests pair off in any order, however the input is edited: no finished row is pending."""
    with simulated(tmp_path, rows=0, config=FAILING, input={"path": "rows.jsonl"}, order=order) as job:
        for table in tables:
            write_texts(job, table)
            done, found = job.submit_here(), state_of(job)
            assert (found.ok, found.failed, found.pending) == (done.ok, done.failed, done.pending)
            assert found.pending == 0


def test_a_folder_that_does_not_say_whether_rows_have_ids_is_read(tmp_path: Path) -> None:
    """What an earlier version left, and a submit that is writing its index anew."""
    with simulated(tmp_path, rows=3) as job:
        job.submit_here()
        path = job.checkpoint / "index.json"
        about = codec.loads(path.read_bytes())
        assert about.pop("has_ids") is True
        path.write_bytes(codec.dumps(about))
        assert (state_of(job).ok, state_of(job).pending) == (3, 0)
        path.unlink()
        assert (state_of(job).ok, state_of(job).pending) == (3, 0)


def test_a_finished_run_says_what_it_took(tmp_path: Path) -> None:
    """As its summary did: what rows cost, and what the budget has spent and held."""
    with simulated(tmp_path, rows=4, **PRICED, **BUDGET) as job:
        done = job.submit_here()
        found = state_of(job)
        shown = batchrun("status", "job.yaml", cwd=job.folder).out
    assert found.up_to_date
    assert (found.cost_usd, found.usage, found.spent) == (done.cost_usd, done.usage, done.spent)
    assert found.budget == {**BUDGET["budget"], "per": "run"}
    assert found.cost_usd is not None
    assert found.cost_usd > 0
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    tokens = found.spent["tokens"]
    spent = usd(found.spent["cost_usd"])
    assert f"cost {usd(found.cost_usd)}" in lines
    assert f"budget {spent} of $5.00, {tokens:,} of 100,000 tokens, 4 of 500 requests spent or held" in lines


def test_a_run_without_price_and_budget_shows_tokens_alone(tmp_path: Path) -> None:
    """Nothing is said of money that nobody knows."""
    with simulated(tmp_path, rows=2) as job:
        job.submit_here()
        found = state_of(job)
        shown = batchrun("status", "job.yaml", cwd=job.folder).out
    assert (found.cost_usd, found.saved_usd) == (None, None)
    assert " prompt + " in shown
    assert "$" not in shown
    assert "spent or held" not in shown


def test_a_budget_for_a_day_is_not_compared_with_what_all_days_took(tmp_path: Path) -> None:
    """`spent` is of the whole run."""
    with simulated(tmp_path, rows=2, **PRICED, budget={"cost_usd": 5, "per": "day"}) as job:
        job.submit_here()
        shown = batchrun("status", "job.yaml", cwd=job.folder).out
    assert "of $5.00" not in shown


def test_a_killed_run_says_what_it_took_at_most(tmp_path: Path) -> None:
    """Rows as published last; of the budget all that was sent since, unanswered calls at their bounds."""
    config = {"faults": [{"match": "row 000004:", "first": 1, "stall": 60}]}
    with simulated(tmp_path, rows=5, config=config, **PRICED, **BUDGET) as job:
        first = job.submit_here(limit=2)
        with subprocess.Popen(job.command(), stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 20
            while sum(p.read_bytes().count(b'"done"') for p in job.checkpoint.glob("journal-*.log")) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            running = state_of(job)
            process.send_signal(signal.SIGKILL)
        found = state_of(job)
        shown = " ".join(batchrun("status", "job.yaml", cwd=job.folder).out.split())
        last = job.submit_here()
    assert (running.state, running.up_to_date) == ("running", False)
    assert (found.state, found.up_to_date) == ("killed", False)
    assert (found.cost_usd, found.usage) == (first.cost_usd, first.usage)
    assert found.spent["requests"] == 5
    assert first.spent["cost_usd"] < found.spent["cost_usd"] <= last.spent["cost_usd"]
    assert "completion, when the last submit ended" in shown
    assert "budget at most $0.0" in shown


def test_answers_of_a_row_that_is_not_finished_count_as_they_were_reserved(tmp_path: Path) -> None:
    """A run folder holds no prices: never less than what they cost."""
    config = {"faults": [{"match": "and why", "first": 1, "stall": 60}]}
    prompt = {"messages": [{"role": "user", "content": "{{ text }}"}], "turns": [{"content": "and why"}]}
    with simulated(tmp_path, rows=1, config=config, prompt=prompt, **PRICED, **BUDGET) as job:
        with subprocess.Popen(job.command(), stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 20
            while not RunFolder(job.run).identity_path.exists() or state_of(job).spent["requests"] < 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        found = state_of(job)
        last = job.submit_here()
    assert (found.ok, found.spent["requests"]) == (0, 2)
    assert last.cost_usd is not None
    assert found.spent["cost_usd"] > last.cost_usd
    assert last.spent["requests"] == 3


def test_a_run_killed_before_any_end_says_what_it_took(tmp_path: Path) -> None:
    """There is no earlier summary, so no caps: the amounts alone."""
    with simulated(tmp_path, rows=3, **PRICED, **BUDGET) as job:
        done = job.submit_here()
        (job.run / "run.json").unlink()
        shutil.rmtree(job.run / "generations")
        (job.run / "results").unlink()
        found = state_of(job)
        shown = " ".join(batchrun("status", "job.yaml", cwd=job.folder).out.split())
    assert (found.state, found.cost_usd, found.usage, found.budget) == ("killed", None, {}, {})
    assert found.spent == done.spent
    assert f"{done.spent['tokens']:,} tokens, 3 requests spent or held" in shown
    assert ("taken at most $" in shown, "budget" in shown) == (True, False)
