"""A submit that is killed at any step makes no batch twice, loses no row, and pays for none twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from batchrun.run_folder.journal.format_version import FORMAT_VERSION
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.records import Header, Sent
from tests.batches.batched import base_url, batched, lines_of, provider_batches, provider_files
from tests.runs import JobFolder, asked

ROWS = 300


def killed_when(job: JobFolder, seen: Callable[[], bool], timeout: float = 60.0) -> None:
    """Start a submit, and kill it with -9 as soon as something is seen."""
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + timeout
    while not seen():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end, "what was waited for never came"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def held(job: JobFolder) -> None:
    """Every row is in the results, was answered once, and stood in one batch."""
    results = job.results()
    assert len(results) == ROWS
    assert (results["status"] == "ok").all()
    assert {len(calls) for calls in asked(job.calls()).values()} == {1}
    assert sum(one["request_counts"]["total"] for one in provider_batches(job)) == ROWS
    assert job.run_json()["cost_usd"] == pytest.approx(
        sum(call.answer.cost_usd or 0 for call in job.calls() if call.answer)
    )


def written(job: JobFolder) -> bool:
    """Rows are being written into a file of requests."""
    return any(path.stat().st_size for path in job.checkpoint.glob("batch-*.jsonl.tmp"))


def answers(job: JobFolder) -> int:
    """Bytes of the journal."""
    return sum(path.stat().st_size for path in job.checkpoint.glob("journal-*.log"))


STEPS: dict[str, tuple[dict[str, Any], Callable[[JobFolder], bool]]] = {
    "render": ({}, lambda job: job.checkpoint.exists() and written(job)),
    "upload": ({"faults": [{"on": "upload", "nth": 1, "stall": 10}]}, lambda job: bool(provider_files(job))),
    "create": (
        {"faults": [{"on": "create", "nth": 1, "stall": 10}]},
        lambda job: bool(provider_batches(job)),
    ),
    "before create": (
        {"faults": [{"on": "create", "nth": 1, "act": "refuse", "status": 500, "stall": 3}]},
        lambda job: any(job.checkpoint.glob("batch-*.json")),
    ),
    "second create": (
        {"faults": [{"on": "create", "nth": 2, "stall": 10}]},
        lambda job: len(provider_batches(job)) == 2,
    ),
    "poll": ({"seconds": 2}, lambda job: any(b["status"] == "in_progress" for b in provider_batches(job))),
    "download": (
        {"faults": [{"on": "content", "nth": 1, "stall": 10}]},
        lambda job: (
            all(b["status"] == "completed" for b in provider_batches(job)) and len(provider_batches(job)) == 3
        ),
    ),
    "journal": ({}, lambda job: job.checkpoint.exists() and answers(job) > 20_000),
}


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_a_step_loses_nothing_and_makes_no_batch_twice(tmp_path: Path, step: str) -> None:
    """The next submit finds what there is at the provider, and goes on from there."""
    batches, seen = STEPS[step]
    with batched(tmp_path, rows=ROWS, batches=batches, engine={"max_lines": 100}) as job:
        killed_when(job, lambda: seen(job))
        assert job.submit().code == 0
        held(job)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_kills_at_any_moment_lose_nothing(tmp_path: Path, seed: int) -> None:
    """Again and again, until one submit comes to its end."""
    draw = random.Random(seed)
    with batched(tmp_path, rows=ROWS, batches={"seconds": 0.3}, engine={"max_lines": 100}) as job:
        for _ in range(6):
            with subprocess.Popen(
                job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                try:
                    process.wait(draw.uniform(0.35, 1.6))
                except subprocess.TimeoutExpired:
                    process.kill()
        assert job.submit().code == 0
        held(job)


@pytest.mark.parametrize("edited", [False, True])
def test_a_power_cut_between_a_call_and_its_answer_costs_nothing(tmp_path: Path, edited: bool) -> None:
    """The answer is taken up beside the call that the journal has; also of a row that asks otherwise now."""
    with batched(tmp_path, rows=5, batches={"seconds": 0.3}) as job:
        job.submit_here(wait=False)
        kept = {path: path.read_bytes() for path in job.checkpoint.glob("batch-*")}
        (rows,) = (path for path in kept if path.suffix == ".parquet")
        (record,) = (json.loads(data) for path, data in kept.items() if path.suffix == ".json")
        journal = max(job.checkpoint.glob("journal-*.log"), default=job.checkpoint / "journal-000001.log")
        line = pl.read_parquet(rows).row(2, named=True)
        with journal.open("ab") as file:
            if not file.tell():
                file.write(encode(Header(FORMAT_VERSION)))
            file.write(encode(sent_by(record, line)))
        if edited:
            job.edit(request={"max_completion_tokens": 21})
        summary = job.submit_here(rerun_changed=edited)
        assert summary.ok == 5
        assert {len(calls) for calls in asked(job.calls()).values()} == {1 + edited}
        assert (summary.possibly_paid, summary.pending) == (0, 0)


def sent_by(record: dict[str, Any], line: dict[str, Any]) -> Sent:
    """The journal's record of a request of a batch."""
    same = ("task", "call", "row", "key", "request_hash", "step", "tokens", "bound_usd", "bound_tokens")
    of_batch = {name: record[name] for name in ("model", "endpoint", "model_index", "at", "named")}
    own = {name: line[name] for name in same}
    return Sent(**own, **of_batch, step_digest=line["ask"], batch=record["batch_id"])


def test_a_creation_whose_answer_is_lost_is_found_and_not_repeated(tmp_path: Path) -> None:
    """By what the batch is stamped with."""
    faults = [{"on": "create", "nth": 1, "act": "lose"}]
    with batched(tmp_path, rows=ROWS, batches={"faults": faults}, engine={"max_lines": 100}) as job:
        assert job.submit_here(looks=(0.0,)).ok == ROWS
        held(job)


def test_a_creation_that_failed_is_repeated(tmp_path: Path) -> None:
    """Once the provider's batches show that there is none."""
    faults = [{"on": "create", "nth": 1, "act": "refuse", "status": 503}]
    with batched(tmp_path, rows=ROWS, batches={"faults": faults}, engine={"max_lines": 100}) as job:
        assert job.submit_here(looks=(0.0, 0.05)).ok == ROWS
        held(job)


def test_where_batches_are_not_listed_the_submit_stops_and_asks(tmp_path: Path) -> None:
    """Nothing is created until somebody says what became of it; then nothing is created twice."""
    faults = [{"on": "create", "nth": 1, "act": "lose"}]
    with batched(tmp_path, rows=ROWS, batches={"faults": faults, "listing": False}) as job:
        first = job.submit_here(looks=(0.0,))
        assert first.stopped_by is not None
        assert (first.stopped_by.kind, first.exit_code, first.ok) == ("batches", 3, 0)
        name = next(job.checkpoint.glob("batch-*.json")).stem.removeprefix("batch-")
        assert f"--batch {name}=none" in first.stopped_by.message
        again = job.submit_here(looks=(0.0,))
        assert again.stopped_by is not None
        assert again.stopped_by.kind == "batches"
        assert job.submit_here(batches={name: "batch_00000001"}).ok == ROWS
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}
        assert httpx.get(f"{base_url(job)}/batches/batch_00000002", trust_env=False).status_code == 404


def test_or_it_was_never_created(tmp_path: Path) -> None:
    """Then its rows are asked in another one."""
    faults = [{"on": "create", "nth": 1, "act": "refuse", "status": 500}]
    with batched(tmp_path, rows=ROWS, batches={"faults": faults, "listing": False}) as job:
        assert job.submit_here(looks=(0.0,)).exit_code == 3
        name = next(job.checkpoint.glob("batch-*.json")).stem.removeprefix("batch-")
        assert job.submit_here(batches={name: "none"}).ok == ROWS
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}


@pytest.mark.long
def test_an_interrupt_leaves_the_batches_with_the_provider(tmp_path: Path) -> None:
    """Ctrl-C ends the submit, not the batches: the next one fetches them."""
    with batched(tmp_path, rows=ROWS, batches={"seconds": 3}) as job:
        process = subprocess.Popen(
            job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        while not provider_batches(job):
            time.sleep(0.01)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode == 130
        assert job.submit().code == 0
        held(job)


@pytest.mark.parametrize("act", ["lose", "cut"])
@pytest.mark.parametrize("on", ["upload", "get", "content", "cancel"])
def test_answers_that_are_lost_on_the_way_are_asked_for_again(tmp_path: Path, on: str, act: str) -> None:
    """Whatever costs nothing to repeat is repeated."""
    faults = [{"on": on, "nth": 1, "act": act}]
    retry = {"backoff": {"initial": 0.01, "max": 0.05}}
    batches = {"faults": faults, "seconds": 1}
    with batched(tmp_path, rows=ROWS, batches=batches, retry=retry, finish_by="2s") as job:
        assert job.submit_here().ok == ROWS
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}


def test_lines_are_mapped_by_their_ids(tmp_path: Path) -> None:
    """Every line names its row's task, its call and what is asked; the order of answers means nothing."""
    with batched(tmp_path, rows=50, batches={"seconds": 0.5}) as job:
        job.submit_here(wait=False)
        (batch,) = provider_batches(job)
        ids = [line["custom_id"] for line in lines_of(job, batch["input_file_id"])]
        assert len(set(ids)) == 50
        assert job.submit_here().ok == 50
        results = job.results()
        assert all(
            one.split("-")[2] == digest[:32] for one, digest in zip(ids, results["request_hash"], strict=True)
        )
        by_row = {calls[0].prompt: calls[0] for calls in asked(job.calls()).values()}
        assert len(by_row) == 50
