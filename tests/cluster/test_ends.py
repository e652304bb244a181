"""How a run on many workers ends where something of it fails: soon, and with what had arrived."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import batchrun.answer.calls
import batchrun.cluster.driving
from batchrun.cluster.link import WorkerBrokenError
from batchrun.cluster.messages import Delivery, FromDriver, NoMoreShards, Shard
from batchrun.cluster.shards import Shards
from batchrun.errors import OpenFilesError, StorageError, UsageError
from batchrun.summary import Summary
from tests.cluster.inline import Cluster, InlineLink
from tests.runs import JobFolder, simulated

ENGINE = {"kind": "ray", "workers": 3}
SLOW = {"latency": {"kind": "uniform", "low": 0.1, "high": 0.4}}
PROMPT_END = 20.0
"""Seconds in which a run of these tests must have ended."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Workers in this process."""
    found = Cluster()
    monkeypatch.setattr(batchrun.cluster.driving, "ray_links", found.links_of)
    return found


def ended(job: JobFolder, **options: Any) -> Summary | BaseException:
    """What a submit came to, which must not take for ever."""
    interrupts: list[int] = []
    found: list[Summary | BaseException] = []

    def work() -> None:
        try:
            found.append(job.submit_here(interrupts=lambda: len(interrupts), **options))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PROMPT_END)
    in_time = not thread.is_alive()
    interrupts += [1, 2]
    thread.join(PROMPT_END)
    assert in_time, "it hung"
    return found[0]


@pytest.mark.long
def test_a_bug_in_a_worker_ends_the_run_and_the_others_land(tmp_path: Path, cluster: Cluster) -> None:
    """Calls of the other workers get the drain, and their answers are kept."""
    with simulated(tmp_path, rows=300, config=SLOW, engine=ENGINE) as job:

        def breaking(link: InlineLink) -> None:
            collect = link.collect

            async def broken(received: int) -> Delivery:
                if link.name == "node 1" and job.ledger.exists() and len(job.calls()) >= 40:
                    raise WorkerBrokenError("KeyError('x')")
                return await collect(received)

            link.collect = broken  # type: ignore[method-assign] # for this one

        cluster.on_start = breaking
        error = ended(job)
        assert "KeyError('x')" in str(error)
        assert "node 1" in str(error)
        cluster.on_start = lambda _link: None
        summary = job.submit_here()
        assert (summary.exit_code, summary.ok) == (0, 300)
        assert len(job.calls()) - 300 <= 32 / 3 + 8  # what the broken one had in flight


def test_a_row_that_ends_its_worker_ends_the_run(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the worker waits for its next range."""

    def fails(_exchange: object) -> None:
        raise OpenFilesError("no connection could be opened")

    with simulated(tmp_path, rows=300, config=SLOW, engine=ENGINE) as job:
        monkeypatch.setattr(batchrun.answer.calls, "_check_open_files", fails)
        summary = ended(job, drain=2.0)
        assert isinstance(summary, Summary)
        assert summary.exit_code == 3
        assert summary.stopped_by is not None
        assert "no connection could be opened" in summary.stopped_by.message


def test_a_disk_that_fails_ends_the_run(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where what rows go on from cannot be read for the next range, while calls are under way."""
    cut = Shards.next

    def fails(shards: Shards, most: int | None = None) -> Shard | None:
        if shards.cut > 150:
            raise StorageError("the disk fails")
        return cut(shards, most)

    with simulated(tmp_path, rows=300, config=SLOW, engine=ENGINE) as job:
        monkeypatch.setattr(Shards, "next", fails)
        summary = ended(job)
        assert isinstance(summary, Summary)
        assert summary.stopped_by is not None
        assert summary.stopped_by.message == "the disk fails"


@pytest.mark.long
def test_workers_that_cannot_be_started_end_the_run(tmp_path: Path, cluster: Cluster) -> None:
    """What the others had in flight lands."""
    with simulated(tmp_path, rows=300, config=SLOW, engine=ENGINE) as job:

        def missing(link: InlineLink) -> None:
            if link.name == "node 3":
                link.lose()
                raise UsageError("no worker could be started: No module named 'batchrun'")

        tries: list[int] = []

        async def in_turn() -> None:
            turn = len(tries)
            tries.append(turn)
            while turn == 2 and (not job.ledger.exists() or len(job.calls()) < 40):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

        cluster.on_start = missing
        cluster.before_start = in_turn
        error = ended(job)
        assert isinstance(error, UsageError)
        assert "No module named" in str(error)
        cluster.before_start = lambda: asyncio.sleep(0)
        cluster.on_start = lambda _link: None
        summary = job.submit_here()
        assert summary.ok == 300
        assert len(job.calls()) == 300


def test_a_worker_that_comes_when_all_is_done_is_not_waited_for(tmp_path: Path, cluster: Cluster) -> None:
    with simulated(tmp_path, rows=48, config=SLOW, engine={**ENGINE, "workers": 2}) as job:
        started: list[int] = []
        told = asyncio.Event()

        async def second_late() -> None:
            started.append(1)
            if len(started) == 2:
                await told.wait()

        def watched(link: InlineLink) -> None:
            deliver, collect = link.deliver, link.collect

            async def delivers(messages: Sequence[FromDriver]) -> None:
                if any(isinstance(message, NoMoreShards) for message in messages):
                    told.set()
                await deliver(messages)

            async def collects(received: int) -> Delivery:
                delivery = await collect(received)
                await asyncio.sleep(0.3 if told.is_set() else 0)
                return delivery

            link.deliver, link.collect = delivers, collects  # type: ignore[method-assign] # to see it

        cluster.before_start, cluster.on_start = second_late, watched
        begun = time.monotonic()
        assert job.submit_here().ok == 48
        assert time.monotonic() - begun < 9
