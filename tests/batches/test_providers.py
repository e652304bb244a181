"""Providers that answer late, short, or have no room: nothing is asked twice, and the run comes to an end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.batches.batched import BRIEF, altered, base_url, batched, provider_batches, provider_files
from tests.runs import JobFolder, asked, write_rows
from tests.small_files import files_of_at_most


def is_look(path: str) -> bool:
    """Whether one batch is asked for."""
    return "/batches/" in path


def edited(data: bytes, **members: Any) -> bytes:
    """A document with other members."""
    return json.dumps({**json.loads(data), **members}).encode()


@pytest.mark.parametrize("how", ["late", "short"])
def test_answers_that_lack_at_first_are_fetched_again(tmp_path: Path, how: str) -> None:
    """A file that is named a moment after the batch is over, or ends too soon, costs nothing."""
    seen = 0

    def change(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        nonlocal seen
        if how == "late" and is_look(path) and json.loads(data)["status"] == "completed" and not seen:
            seen += 1
            return status, edited(data, output_file_id=None)
        if how == "short" and path.endswith("/content") and not seen:
            seen += 1
            return status, b"".join(data.splitlines(keepends=True)[:4])
        return status, data

    with batched(tmp_path, rows=10, retry=BRIEF) as job, altered(job, change):
        assert job.submit_here().ok == 10
        assert seen
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}


def test_answers_that_never_come_do_not_hold_up_the_run(tmp_path: Path) -> None:
    """After `retry.max_attempts` looks what is there is taken, and that is said."""
    cut = 0

    def change(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        nonlocal cut
        if path.endswith("/content") and len(lines := data.splitlines(keepends=True)) == 10:
            cut += 1
            return status, b"".join(lines[:8])
        return status, data

    with batched(tmp_path, rows=10, retry=BRIEF) as job, altered(job, change):
        ended = job.submit()
        assert (ended.code, cut) == (0, BRIEF["max_attempts"])
        assert "the provider counts 2 answers more than its files have" in ended.err


def test_failed_requests_that_are_counted_twice_are_not_missed(tmp_path: Path) -> None:
    """Some providers count them among the completed ones, too: the files are fetched once."""
    fetched = 0

    def change(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        nonlocal fetched
        fetched += path.endswith("/content")
        if is_look(path):
            return status, edited(data, request_counts={"total": 10, "completed": 10, "failed": 2})
        return status, data

    with batched(tmp_path, rows=10, retry=BRIEF) as job, altered(job, change):
        assert "more than its files have" not in job.submit().err
        assert fetched == 1


def test_a_limit_on_the_rate_is_waited_for_as_the_provider_says(tmp_path: Path) -> None:
    """A plain 429 is no word of a quota: the batch is created after Retry-After, beside the first one."""
    refused = {"on": "create", "nth": 2, "act": "refuse", "status": 429, "retry_after": 1}
    batches = {"seconds": 8, "faults": [refused]}
    with batched(tmp_path, rows=20, batches=batches, engine={"max_lines": 10}) as job:
        ended = job.submit("--no-wait")
        assert (ended.code, len(provider_batches(job))) == (0, 2)
        assert "no room" not in ended.err
        second, first = provider_batches(job)
        assert second["created_at"] >= first["created_at"] + 1


def test_words_of_a_limit_on_the_rate_are_none_of_a_quota(tmp_path: Path) -> None:
    """Once the rate allows it all rows go in one batch, however few tokens a minute the words name."""
    left = 5 * BRIEF["max_attempts"]

    def change(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        nonlocal left
        if method == "POST" and path.endswith("/batches") and left:
            left -= 1
            error = {"message": "Rate limit reached on tokens per min (TPM): Limit 30, Used 20", "code": None}
            return 429, json.dumps({"error": error}).encode()
        return status, data

    with batched(tmp_path, rows=40, retry=BRIEF) as job, altered(job, change):
        ended = job.submit()
        assert (ended.code, left) == (0, 0)
        assert "Limit 30, Used 20" in ended.err
        assert {one["request_counts"]["total"] for one in provider_batches(job)} == {40}


@contextmanager
def beside_another(folder: Path, **rules: Any) -> Iterator[JobFolder]:
    """A job of 16 rows at a provider with room for 1,000 tokens, of which another job's batch has most."""
    batches = {"enqueued_tokens": 1000, **rules}
    with batched(folder, rows=16, batches=batches, engine={"poll": 0.05}) as job:
        other = JobFolder(folder / "other")
        other.folder.mkdir()
        write_rows(other.rows, 30)
        other.write(base_url(job), engine={"kind": "provider_batch"})
        assert other.submit("--no-wait").code == 0
        yield job


def test_a_quota_that_others_hold_is_waited_for(tmp_path: Path) -> None:
    """A file that is well below the limit that the provider names is not split, and none is left there."""
    with beside_another(tmp_path, seconds=2) as job:
        assert job.submit_here().ok == 16
        sizes = [one["request_counts"]["total"] for one in provider_batches(job)]
        assert set(sizes) == {16, 30}
        assert [one["purpose"] for one in provider_files(job)].count("batch") == 1  # of the other job


def test_a_file_that_is_split_is_not_left_with_the_provider(tmp_path: Path) -> None:
    """Its rows are in smaller ones."""
    with batched(tmp_path, rows=60, batches={"enqueued_tokens": 1000}) as job:
        assert job.submit_here().ok == 60
        assert "batch" not in [one["purpose"] for one in provider_files(job)]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_request_above_the_limit_of_the_provider_ends_the_run(tmp_path: Path, at_once: bool) -> None:
    """In the provider's words, with what to do."""

    def change(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        if at_once and method == "POST" and path.endswith("/batches"):
            error = {"message": "Enqueued token limit reached. Limit: 5 enqueued tokens.", "code": None}
            return 429, json.dumps({"error": error}).encode()
        return status, data

    with batched(tmp_path, rows=1, batches={"enqueued_tokens": 5}) as job, altered(job, change):
        summary = job.submit_here()
        assert summary.stopped_by is not None
        assert (summary.exit_code, summary.pending) == (3, 1)
        assert "Limit: 5 enqueued tokens" in summary.stopped_by.message
        assert "engine.kind: local" in summary.stopped_by.message
        assert "batch" not in [one["purpose"] for one in provider_files(job)]


def test_a_file_that_is_gone_when_there_is_room_is_uploaded_anew(tmp_path: Path) -> None:
    """It waited for room at the provider, which knows it no more then."""
    gone = {"on": "create", "nth": 3, "act": "refuse", "status": 404}
    with beside_another(tmp_path, seconds=1, faults=[gone]) as job:
        assert job.submit_here().ok == 16
        assert len(job.calls()) == 46


def test_a_file_that_is_gone_when_the_rate_allows_it_is_uploaded_anew(tmp_path: Path) -> None:
    """A provider that has taken it has batches, though it knows the file no more."""
    most = BRIEF["max_attempts"]
    limited = [{"on": "create", "nth": nth + 1, "act": "refuse", "status": 429} for nth in range(most)]
    gone = {"on": "create", "nth": most + 1, "act": "refuse", "status": 404}
    with batched(tmp_path, rows=5, batches={"faults": [*limited, gone]}, retry=BRIEF) as job:
        ended = job.submit()
        assert ended.code == 0, ended.err
        assert len(job.calls()) == 5


def test_rows_go_on_in_realtime_although_a_cancel_has_failed(tmp_path: Path) -> None:
    """The batch is cancelled at the next look."""
    fails = [{"on": "cancel", "nth": nth, "act": "refuse", "status": 500} for nth in (1, 2, 3)]
    batches = {"seconds": 10, "cancelling": 0.1, "faults": fails}
    with batched(tmp_path, rows=20, batches=batches, retry=BRIEF, finish_by="2s") as job:
        assert job.submit_here().ok == 20
        assert 0 < job.results()["batch_id"].is_null().sum() < 20
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}


def test_a_disk_that_is_full_while_answers_are_fetched_ends_the_run(tmp_path: Path) -> None:
    """What to do is said, `run.json` tells of it, and the next submit fetches the answers."""
    with batched(tmp_path, rows=300, batches={"seconds": 0.3}) as job:
        assert job.submit("--no-wait").code == 0
        with files_of_at_most(60_000):
            ended = job.submit()
        assert ended.code == 3
        assert "submit again" in ended.err
        assert job.run_json()["stopped_by"]["kind"] == "storage"
        assert job.submit_here().ok == 300
        assert {len(calls) for calls in asked(job.calls()).values()} == {1}
