"""Rows by what would happen to them, those that are gone among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchrun.gc import collect
from batchrun.job import load_job
from tests.planning.planning import planned
from tests.runs import JobFolder, simulated


def keep(job: JobFolder, *kept: int) -> None:
    """Leave only these rows in the input."""
    lines = job.rows.read_text().splitlines(keepends=True)
    job.rows.write_text("".join(lines[at] for at in kept))


@pytest.mark.parametrize("id_column", ["id", None])
def test_rows_that_are_gone_are_counted(tmp_path: Path, id_column: str | None) -> None:
    """With ids and without; whether their answers are sealed or not makes no difference."""
    sections = {"input": {"path": "rows.jsonl", **({"id": id_column} if id_column else {})}}
    with simulated(tmp_path, rows=6, **sections) as job:
        assert planned(job).rows["removed"] == 0
        job.submit_here()
        assert planned(job).rows["removed"] == 0
        keep(job, 1, 4)
        assert {state: number for state, number in planned(job).rows.items() if number} == {
            "ok": 2,
            "removed": 4,
        }


def test_gc_drops_what_is_removed(tmp_path: Path) -> None:
    """Afterwards there is nothing to say of them."""
    with simulated(tmp_path, rows=6) as job:
        job.submit_here()
        keep(job, 0, 1, 2)
        assert planned(job).rows["removed"] == 3
        assert collect(load_job(job.job, env={}, cwd=tmp_path)).answers == 3
        assert planned(job).rows["removed"] == 0


def test_an_edited_row_is_not_removed(tmp_path: Path) -> None:
    """Its older answer belongs to a row that is there; neither is one that a later answer replaced."""
    with simulated(tmp_path, rows=4) as job:
        job.submit_here()
        job.rows.write_text(job.rows.read_text().replace("row 000002", "row 2000002"))
        assert planned(job).rows == {**dict.fromkeys(planned(job).rows, 0), "ok": 3, "changed": 1}
        job.submit_here(rerun_changed=True)
        assert planned(job).rows == {**dict.fromkeys(planned(job).rows, 0), "ok": 4}


def test_a_row_that_failed_and_was_answered_counts_once(tmp_path: Path) -> None:
    """Two answers are kept for it."""
    config = {"faults": [{"match": "row 000001:", "first": 8, "status": 500}]}
    retry = {"max_attempts": 1, "backoff": {"initial": 0.01}}
    with simulated(tmp_path, rows=3, config=config, retry=retry) as job:
        for _ in range(9):
            job.submit_here()
        assert planned(job).rows["ok"] == 3
        keep(job, 0)
        assert planned(job).rows["removed"] == 2


def test_an_answer_that_another_row_takes_is_not_removed(tmp_path: Path) -> None:
    """With `dedupe` an equal row stands for it."""
    with simulated(tmp_path, rows=1, dedupe=True) as job:
        table = [{"id": at, "text": "alike"} for at in "abc"]
        job.rows.write_text("".join(json.dumps(row) + "\n" for row in table))
        job.submit_here()
        keep(job, 1, 2)
        assert (planned(job).rows["ok"], planned(job).rows["removed"]) == (2, 0)
