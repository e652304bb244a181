"""Many workers on one run: the rows, the limits, the money and the ends are those of a run on one machine."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import batchrun.cluster.driving
from batchrun.cluster.messages import Delivery
from batchrun.errors import InputError, JobError, UsageError
from batchrun.job import load_job
from batchrun.submitting.options import Options
from batchrun.submitting.submit import submit
from batchrun.summary import Summary
from tests.cluster.inline import Cluster, InlineLink
from tests.runs import JobFolder, Silent, asked, simulated

TIMES = ("started_at", "finished_at", "latency", "ttft", "attempts", "response_id")
ENGINE = {"kind": "ray", "workers": 3}
SLOW = {"latency": {"kind": "uniform", "low": 0.02, "high": 0.1}}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Workers in this process."""
    found = Cluster()
    monkeypatch.setattr(batchrun.cluster.driving, "ray_links", found.links_of)
    return found


def answered(job: JobFolder) -> dict[int, int]:
    """How many good answers each row was given."""
    rows = asked(job.calls())
    return {
        row: sum(call.answer is not None and call.answer.status == 200 for call in calls)
        for row, calls in rows.items()
    }


def losing(rows: int, job: JobFolder) -> Any:
    """What loses the first worker once so many calls have been made."""

    def on_start(link: InlineLink) -> None:
        if link.name != "node 1":
            return

        async def watch() -> None:
            while not job.ledger.exists() or len(job.calls()) < rows:  # noqa: ASYNC110 - another process's file
                await asyncio.sleep(0.02)
            link.lose()

        link.watch = asyncio.ensure_future(watch())  # type: ignore[attr-defined] # kept from being collected

    return on_start


@pytest.mark.long
def test_the_rows_are_those_of_one_machine(tmp_path: Path, cluster: Cluster) -> None:
    """Column by column; every worker had some."""
    with simulated(tmp_path, rows=500, config=SLOW, engine=ENGINE) as job:
        summary = job.submit_here()
        assert (summary.exit_code, summary.ok, summary.submit["calls"]) == (0, 500, 500)
        assert len(cluster.links) == 3
        many = job.results()
        job.edit(engine={})
        job.submit_here(name="alone")
        one = pl.read_parquet(tmp_path / "runs/alone/results/*.parquet")
        assert many.drop(TIMES).equals(one.drop(TIMES))


def test_a_lost_worker_costs_only_what_it_had_in_flight(tmp_path: Path, cluster: Cluster) -> None:
    """Its rows go to others, and another worker comes in its place."""
    with simulated(tmp_path, rows=400, config=SLOW, engine=ENGINE) as job:
        cluster.on_start = losing(150, job)
        summary = job.submit_here()
        assert (summary.exit_code, summary.ok) == (0, 400)
        assert len(cluster.links) == 4
        again = sum(times - 1 for times in answered(job).values())
        assert again <= 32  # places at the endpoint
        lost = next(
            line for line in job.run.joinpath("log.jsonl").read_text().splitlines() if "worker_lost" in line
        )
        assert '"node":"node 1"' in lost
        assert summary.possibly_paid >= again


def test_a_conversation_goes_on_where_its_worker_was_lost(tmp_path: Path, cluster: Cluster) -> None:
    """Turns that were answered are not paid for again."""
    turns = {
        "messages": [{"role": "user", "content": "{{ text }}"}],
        "turns": [{"content": "{{ text }} and then?"}, {"content": "{{ text }} and last?"}],
    }
    with simulated(tmp_path, rows=120, config=SLOW, engine=ENGINE, prompt=turns) as job:
        cluster.on_start = losing(150, job)
        summary = job.submit_here()
        assert (summary.exit_code, summary.ok) == (0, 120)
        good = sum(answered(job).values())
        assert good <= 360 + 32
        assert {len(row) for row in job.results()["messages"].to_list()} == {6}


@pytest.mark.long
def test_limits_hold_for_all_workers_together(tmp_path: Path, cluster: Cluster) -> None:
    """As the server counts them: it refuses nothing, and never sees more at once."""
    limits = {"rpm": 240, "concurrency": 6, "window": "1s"}
    with simulated(tmp_path, rows=60, config=SLOW, engine=ENGINE) as job:
        job.edit(endpoints={"local": {**job.endpoint(), "limits": limits}})
        summary = job.submit_here()
        assert summary.ok == 60
        calls = job.calls()
        times = sorted(call.at for call in calls)
        most = max(sum(start <= at < start + 0.99 for at in times) for start in times)
        assert most <= 2 * 240 / 60  # those of two windows where some arrive later than they went
        assert times[-1] - times[0] > 60 / 4 - 2
        spans = [(call.at, call.answer.at) for call in calls if call.answer]
        assert max(sum(a <= at < b for a, b in spans) for at, _ in spans) <= 6


def test_a_cap_holds_for_all_workers_together(tmp_path: Path, cluster: Cluster) -> None:
    """To the call; raised, the run goes on."""
    with simulated(tmp_path, rows=200, config=SLOW, engine=ENGINE, budget={"requests": 90}) as job:
        summary = job.submit_here()
        assert (summary.exit_code, summary.ok) == (3, 90)
        assert len(job.calls()) == 90
        job.edit(budget={"requests": 500})
        assert job.submit_here().ok == 200
        assert len(job.calls()) == 200


def test_a_cap_holds_where_a_worker_is_lost(tmp_path: Path, cluster: Cluster) -> None:
    """What it had sent counts as taken, what it had not comes back."""
    with simulated(tmp_path, rows=200, config=SLOW, engine=ENGINE, budget={"requests": 120}) as job:
        cluster.on_start = losing(50, job)
        summary = job.submit_here()
        assert summary.exit_code == 3
        assert len(job.calls()) <= 120
        assert summary.ok >= 120 - 32


def test_a_stop_drains_every_worker(tmp_path: Path, cluster: Cluster) -> None:
    """What is in flight lands, and the next submit asks for the rest alone."""
    with simulated(tmp_path, rows=300, config=SLOW, engine=ENGINE) as job:
        interrupts: list[int] = []

        def work(found: list[Summary]) -> None:
            found.append(job.submit_here(interrupts=lambda: len(interrupts), drain=10.0))

        found: list[Summary] = []
        thread = threading.Thread(target=work, args=(found,))
        thread.start()
        while not job.ledger.exists() or len(job.calls()) < 60:
            time.sleep(0.02)
        interrupts.append(1)
        thread.join(30)
        (summary,) = found
        assert summary.exit_code == 130
        assert summary.ok == len(job.calls())
        assert job.submit_here().ok == 300
        assert len(job.calls()) == 300


@pytest.mark.long
def test_a_call_that_a_stop_keeps_from_being_made_is_not_possibly_paid(
    tmp_path: Path, cluster: Cluster
) -> None:
    """Its record was on its way to the driver, which says so late here."""
    with simulated(tmp_path, rows=300, config=SLOW, engine=ENGINE) as job:

        def slow(link: InlineLink) -> None:
            collect = link.collect

            async def collects(received: int) -> Delivery:
                await asyncio.sleep(0.2)
                return await collect(received)

            link.collect = collects  # type: ignore[method-assign] # for this test

        cluster.on_start = slow
        found: list[Summary] = []

        def asked_to_stop() -> int:
            return int(job.ledger.exists() and len(job.calls()) >= 60)

        def work() -> None:
            found.append(job.submit_here(interrupts=asked_to_stop, drain=10.0))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(60)
        (summary,) = found
        assert summary.exit_code == 130
        assert summary.ok == len(job.calls())
        assert summary.possibly_paid == 0
        cluster.on_start = lambda _link: None
        assert job.submit_here().ok == 300
        assert len(job.calls()) == 300


def test_a_canary_goes_first(tmp_path: Path, cluster: Cluster) -> None:
    """And where it fails nothing else is sent."""
    config = {"faults": [{"status": 400}]}
    with simulated(tmp_path, rows=100, config=config, engine=ENGINE, canary=10) as job:
        summary = job.submit_here()
        assert summary.exit_code == 3
        assert summary.stopped_by is not None
        assert summary.stopped_by.kind == "canary"
        assert summary.failed == 10


def test_a_key_is_looked_for_where_the_worker_is(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver needs none, and none passes between the two."""
    with simulated(tmp_path, rows=20, engine=ENGINE) as job:
        job.edit(endpoints={"local": {**job.endpoint(), "api_key_env": "KEY_OF_THE_NODES"}})
        with pytest.raises(
            UsageError, match=r"on node .: no API key: the environment lacks KEY_OF_THE_NODES"
        ):
            job.submit_here()
        monkeypatch.setenv("KEY_OF_THE_NODES", "canary-key-1234567890")
        assert job.submit_here().ok == 20
        assert "canary" not in repr(cluster.setups)
        assert "canary" not in "".join(path.read_text() for path in job.run.glob("*.json*"))


def test_an_input_that_differs_on_a_node_is_refused(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer would belong to another row: nothing is sent for it."""
    with simulated(tmp_path, rows=20, engine={**ENGINE, "workers": 1}) as job:
        job.edit(
            prompt={
                "messages": [{"role": "user", "content": "{{ text }} {{ node }}"}],
                "vars": {"node": "${NODE:-a}"},
            }
        )

        def elsewhere(_link: InlineLink) -> None:
            rows = job.rows.read_text()
            job.rows.write_text(rows.replace("please answer", "please ANSWER"))

        cluster.on_start = elsewhere
        with pytest.raises(InputError, match=r"on node 1: .*another request is made of this row here"):
            job.submit_here()
        assert not job.ledger.exists() or not job.calls()


def test_a_model_that_is_closed_is_closed_for_all(tmp_path: Path, cluster: Cluster) -> None:
    """A refused key ends the run, after one call for each that was on its way."""
    with simulated(tmp_path, rows=100, config={"api_key": "right"}, engine=ENGINE) as job:
        summary = job.submit_here()
        assert summary.exit_code == 4
        assert summary.pending == 100
        assert len(job.calls()) <= 3


def test_what_costs_nothing_costs_0(tmp_path: Path, cluster: Cluster) -> None:
    """As by the local engine, where a price is known: it is not unknown."""
    prices = {"local/small": {"input": 0, "output": 0}}
    with simulated(tmp_path, rows=10, engine=ENGINE, prices=prices) as job:
        many = job.submit_here().submit["cost_usd"]
        job.edit(engine={})
        assert many == job.submit_here(name="alone").submit["cost_usd"] == 0


def test_what_every_worker_finds_is_said_once(tmp_path: Path, cluster: Cluster) -> None:
    with simulated(tmp_path, rows=60, config=SLOW, engine=ENGINE) as job:

        def saying(link: InlineLink) -> None:
            link.worker.say("a model is odd")

        cluster.on_start, progress, env = saying, Silent(), dict(os.environ)
        submit(load_job(job.job, env=env, cwd=job.folder), Options(), env=env, progress=progress)
        assert progress.said.count("a model is odd") == 1


@pytest.mark.parametrize("key", ["tail", "order"])
def test_what_is_for_one_machine_is_refused(tmp_path: Path, cluster: Cluster, key: str) -> None:
    """Rather than passed over."""
    given: Any = {"tail": {"hedge_after": "p99"}, "order": "prefix"}[key]
    with (
        simulated(tmp_path, rows=1, engine=ENGINE, **{key: given}) as job,
        pytest.raises(JobError, match=rf"{key} .*engine.kind: local"),
    ):
        job.submit_here()
