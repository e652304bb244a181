"""Batches of runs in object storage: whichever machine comes next finds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from batchrun import codec
from batchrun.storage import Address
from tests.batches.batched import COST, PRICES, QUICK, provider_batches
from tests.remote.runs import Ended, Remote, remote_job, wait_for

ENGINE = {"kind": "provider_batch", "poll": 0.1, "max_lines": 40}

LOSSES: dict[str, tuple[dict[str, Any], int]] = {
    "while it waits": ({"seconds": 4}, 2),
    "before it knows that the first batch is there": (
        {"faults": [{"on": "create", "nth": 1, "stall": 10}]},
        1,
    ),
    "before it knows that the last one is": ({"faults": [{"on": "create", "nth": 2, "stall": 10}]}, 2),
    "while it fetches": ({"faults": [{"on": "content", "nth": 1, "stall": 10}]}, 2),
}
"""What the provider does, and how many batches it has by the time that the machine is lost."""


def answered_once(work: Remote) -> bool:
    rows = work.answered()
    return len(rows) == 80 and set(rows.values()) == {1}


def test_only_calls_in_realtime_can_be_lost_with_a_machine(tmp_path: Path, bucket: Address) -> None:
    """What is kept free for batches, and what came by them, is left out of what a submit says that it has:
    the next one finds the batches. Else the end of a batch would hide what calls cost meanwhile."""
    sections: dict[str, Any] = {"engine": ENGINE, "prices": PRICES, "canary": 5, "budget": {"cost_usd": 1.0}}
    rules = {"cost": COST, "batches": {**QUICK, "seconds": 1}}
    with remote_job(tmp_path, bucket, rows=30, config=rules, **sections) as work:
        assert work.job.submit_here(wait=False).state == "waiting"
        waiting = _taken(work.manifest().told)
        assert work.job.submit_here().state == "finished"
        fetched = _taken(work.manifest().told)
        results = work.results()
    paid = results.filter(pl.col("batch_id").is_null())["cost_usd"].sum()
    assert waiting == [5, 5, pytest.approx(paid)]
    assert fetched == [0, 0, 0.0]


def _taken(told: Mapping[str, Any]) -> list[Any]:
    return [told[name] for name in ("rows", "calls", "cost_usd")]


@pytest.mark.long
def test_answers_of_a_batch_that_were_lost_are_fetched_again_and_counted_once(
    tmp_path: Path, bucket: Address
) -> None:
    """A machine is lost after it took up a batch and before it uploaded that: nothing is paid for again."""
    stall = {"on": "content", "nth": 2, "stall": 10}
    rules = {"cost": COST, "batches": {**QUICK, "faults": [stall]}}
    sections: dict[str, Any] = {"engine": ENGINE, "prices": PRICES, "budget": {"cost_usd": 1.0}}
    with remote_job(tmp_path, bucket, rows=80, config=rules, **sections) as work:
        first = work.machine("a")
        process = first.start(interval=60)
        wait_for(lambda: b'"ok":40' in (work.store.read("lease.json") or b""))
        process.kill()
        Ended.of(process)
        first.lose_disk()
        second = work.machine("b")
        ended = second.submit()
        assert (ended.code, ended.rows) == (0, (80, 0, 0)), ended.said
        assert "All that it was known to have is here" in ended.said
        assert answered_once(work)
        billed = sum(call.answer.cost_usd or 0.0 for call in work.job.calls() if call.answer)
        spent = codec.loads(second.run.run_json.read_bytes())["spent"]
    assert (spent["requests"], spent["cost_usd"]) == (80, pytest.approx(billed))


@pytest.mark.long
@pytest.mark.parametrize("loss", LOSSES)
def test_a_machine_that_is_lost_leaves_its_batches_to_the_next(
    tmp_path: Path, bucket: Address, loss: str
) -> None:
    """Killed, its disk thrown away: another machine finds them by their stamps, and creates none again."""
    batches, made = LOSSES[loss]
    rules = {"cost": COST, "batches": {**QUICK, **batches}}
    sections: dict[str, Any] = {"engine": ENGINE, "prices": PRICES}
    with remote_job(tmp_path, bucket, rows=80, config=rules, **sections) as work:
        first = work.machine("a")
        process = first.start()
        wait_for(lambda: len(provider_batches(work.job)) == made)
        if "fetches" in loss:
            wait_for(lambda: {one["status"] for one in provider_batches(work.job)} == {"completed"})
        process.kill()
        Ended.of(process)
        first.lose_disk()
        ended = work.machine("b").submit()
        assert (ended.code, ended.rows) == (0, (80, 0, 0)), ended.said
        assert answered_once(work)
        assert len(provider_batches(work.job)) == 2
        assert work.results()["batch_id"].n_unique() == 2
        assert not [name for name in work.manifest().files if "batch-" in name]
