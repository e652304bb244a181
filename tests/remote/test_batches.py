"""Batches of runs in object storage: whichever machine comes next finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
