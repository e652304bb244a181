"""Answers that did not arrive are found among the stored completions, and nothing is paid for again."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

import batchrun.cluster.driving
from batchrun.answer.recovery import PATH, PATIENCE, SLACK, UNKNOWN_SLACK, Recovery, Wanted
from batchrun.answer.task import RowProgress, Task
from batchrun.chat.stamps import JOB, REQUEST, ROW, RUN, Stamp
from batchrun.client import Resources, Server, Timeouts
from batchrun.client.over_httpx import HttpxTransport
from batchrun.job import load_job
from batchrun.outcome import Exchange, NoResponse, Response
from batchrun.render.renderer import Renderer
from batchrun.run_folder.journal.records import Sent
from batchrun.submitting.options import Options
from batchrun.submitting.submit import submit
from batchrun.summary import Counters
from tests.clock import VirtualClock, run_virtual
from tests.cluster.inline import Cluster, InlineLink
from tests.runs import JobFolder, Silent, asked, simulated
from tests.shelf import shelf
from tests.spending.test_budget_runs import PRICE, PRICED, truth
from tests.stack import EPOCH, job_of
from tests.submits.test_conversations import TURNS

STORED = {"max_completion_tokens": 20, "store": True}
AGAIN = {"max_attempts": 4, "backoff": {"initial": 0.01, "max": 0.01}}
DIES = {"match": "row 00000", "first": 1, "reset": "before_headers"}
CUT = {"match": "row 00000", "first": 1, "close": "mid_body"}


def events(job: JobFolder, name: str) -> list[dict[str, Any]]:
    """The log's events of this name."""
    lines = map(json.loads, (job.run / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == name]


@pytest.mark.parametrize("lost", [DIES, {**DIES, "reset": "mid_body"}, CUT])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_lost_on_the_way_is_not_paid_for_again(
    tmp_path: Path, lost: dict[str, Any], stream: bool
) -> None:
    """Each row is called once, has the answer that the provider generated, and costs what that did."""
    config = {"faults": [lost], "cost": PRICE}
    request = {**STORED, "stream": stream}
    with simulated(tmp_path, rows=3, config=config, request=request, retry=AGAIN, **PRICED) as job:
        summary = job.submit_here()
        rows, calls = job.results().to_dicts(), asked(job.calls())
        found = events(job, "recovered")
        assert {row: len(made) for row, made in calls.items()} == {0: 1, 1: 1, 2: 1}
        assert not any(call.answer and call.answer.delivered for call in job.calls())
        assert (summary.ok, summary.submit["calls"], summary.submit["recovered"]) == (3, 3, 3)
        assert summary.possibly_paid == 0
        assert summary.cost_usd == pytest.approx(truth(job))
        assert sorted(event["row"] for event in found) == ["r000000", "r000001", "r000002"]
        assert {event["completion"] for event in found} == {row["response_id"] for row in rows}
        job.edit(request={**request, "store": False}, name="plain")
        assert job.submit_here().submit["calls"] == 3
        plain = JobFolder(tmp_path).folder / "runs" / "plain"
    assert all(row["completion"] and row["usage"]["total_tokens"] for row in rows)
    assert [len(row["attempts"]) for row in rows] == [1, 1, 1]
    assert not [line for line in (plain / "log.jsonl").read_text().splitlines() if "recovered" in line]


def test_a_call_that_took_too_long_may_be_found_as_well(tmp_path: Path) -> None:
    """The provider has answered when we no longer listened."""
    config = {"faults": [{"match": "row 000001", "first": 1, "stall": 60}]}
    retry = {**AGAIN, "timeout": {"total": 1}}
    with simulated(tmp_path, rows=2, config=config, request=STORED, retry=retry) as job:
        summary = job.submit_here()
        assert (summary.ok, len(job.calls()), summary.submit["recovered"]) == (2, 2, 1)


def test_a_listing_that_is_behind_is_looked_at_again(tmp_path: Path) -> None:
    """The answer shows after half a second."""
    config = {"faults": [DIES], "stored": {"delay": 0.5}}
    with simulated(tmp_path, rows=1, config=config, request=STORED, retry=AGAIN) as job:
        summary = job.submit_here()
        assert (summary.ok, len(job.calls()), summary.submit["recovered"]) == (1, 1, 1)


@pytest.mark.parametrize("prompt", [None, TURNS])
def test_what_was_under_way_at_a_kill_is_found_by_the_next_submit(
    tmp_path: Path, prompt: dict[str, Any] | None
) -> None:
    """The answer is there, whoever was killed before it came: no row is called twice, nor a turn of one."""
    match = "r000002 turn two" if prompt else "row 000002"
    config = {"faults": [{"match": match, "first": 1, "stall": 60}], "cost": PRICE}
    sections = {"prompt": prompt} if prompt else {}
    each = 3 if prompt else 1
    with simulated(tmp_path, rows=3, config=config, request=STORED, **PRICED, **sections) as job:
        kill_at(job, calls=3 * each - (1 if prompt else 0), match=match)
        summary = job.submit_here()
        assert len(job.calls()) == 3 * each
        assert (summary.ok, summary.submit["recovered"]) == (3, 1)
        assert summary.possibly_paid == 0
        assert summary.cost_usd == pytest.approx(truth(job))
        assert summary.spent["cost_usd"] == pytest.approx(truth(job))
        assert [len(row["attempts"]) for row in job.results().to_dicts()] == [each] * 3
        assert [event["row"] for event in events(job, "recovered")] == ["r000002"]
        assert job.submit_here().submit["calls"] == 0


def kill_at(job: JobFolder, *, calls: int, match: str) -> None:
    """Submit, and kill once so many calls have come, and all but one with `match` are answered."""
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        made = job.calls() if job.ledger.exists() else []
        open_ = [call for call in made if call.answer is None]
        if len(made) == calls and len(open_) == 1 and match in open_[0].prompt:
            break
        time.sleep(0.01)
    time.sleep(0.2)  # what was answered is in the journal
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_kill_without_store_asks_again(tmp_path: Path) -> None:
    """The provider has kept nothing."""
    config = {"faults": [{"match": "row 000001", "first": 1, "stall": 60}]}
    with simulated(tmp_path, rows=2, config=config) as job:
        kill_at(job, calls=2, match="row 000001")
        summary = job.submit_here()
        assert (summary.ok, len(job.calls()), summary.submit["recovered"]) == (2, 3, 0)
        assert summary.possibly_paid == 1


def test_a_budget_is_charged_what_the_found_answer_cost(tmp_path: Path) -> None:
    """Not the most that the call could have cost: three calls finish a run that may make no fourth."""
    config = {"faults": [DIES], "cost": PRICE}
    sections = {**PRICED, "budget": {"requests": 3, "cost_usd": 1.0}, "request": STORED, "retry": AGAIN}
    with simulated(tmp_path, rows=3, config=config, **sections) as job:
        summary = job.submit_here()
        assert (summary.exit_code, summary.ok, summary.spent["requests"]) == (0, 3, 3)
        assert summary.spent["cost_usd"] == pytest.approx(truth(job))


def test_what_is_found_after_a_kill_leaves_its_bound_to_later_calls(tmp_path: Path) -> None:
    """The same submit can spend what the call did not take: its turns fit beside it, not beside its bound."""
    config = {"faults": [{"match": "turn one", "first": 1, "stall": 60}], "cost": PRICE}
    with simulated(tmp_path, rows=1, config=config, request=STORED, prompt=TURNS, **PRICED) as job:
        kill_at(job, calls=1, match="turn one")
        job.edit(budget={"tokens": 2200})
        summary = job.submit_here()
        assert (summary.exit_code, summary.ok, summary.submit["recovered"]) == (0, 1, 1)


def test_workers_find_answers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them lost it, and the driver counts."""
    monkeypatch.setattr(batchrun.cluster.driving, "ray_links", Cluster().links_of)
    engine = {"kind": "ray", "workers": 2}
    sections = {"request": STORED, "engine": engine, "retry": AGAIN}
    with simulated(tmp_path, rows=6, config={"faults": [DIES]}, **sections) as job:
        summary = job.submit_here()
        assert (summary.ok, len(job.calls()), summary.submit["recovered"]) == (6, 6, 6)
        assert len(events(job, "recovered")) == 6


def test_what_a_lost_worker_had_under_way_is_found_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider has answered: the row that goes to another worker is called once."""
    cluster = Cluster()
    monkeypatch.setattr(batchrun.cluster.driving, "ray_links", cluster.links_of)
    config = {"faults": [{"match": "row 000005", "first": 1, "stall": 60}]}
    sections = {"request": STORED, "engine": {"kind": "ray", "workers": 1}}
    with simulated(tmp_path, rows=6, config=config, **sections) as job:

        async def lose_first(link: InlineLink) -> None:
            if link.name != "node 1":
                return
            while sum(call.answer is None for call in job.calls()) != 1 or len(job.calls()) < 6:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            link.lose()

        watchers: list[asyncio.Future[None]] = []
        cluster.on_start = lambda link: watchers.append(asyncio.ensure_future(lose_first(link)))
        summary = job.submit_here()
        assert len(cluster.links) == 2
        assert (summary.ok, len(job.calls())) == (6, 6)
        assert summary.submit["recovered"] >= 1  # the others, where their answers were still on their way


def test_the_shell_says_how_many_answers_were_found(tmp_path: Path) -> None:
    """In the summary, as money that was not spent twice."""
    with simulated(tmp_path, rows=2, config={"faults": [DIES]}, request=STORED, retry=AGAIN) as job:
        told = " ".join(job.submit().err.split())
        assert "2 answers recovered from stored completions instead of being paid for again" in told
        assert json.loads(job.submit("--json").out)["submit"]["recovered"] == 0


def test_nothing_is_looked_up_without_store(tmp_path: Path) -> None:
    """Nor for calls that were answered, or refused."""
    with shelf(["dies", "stored"]) as (server, job):
        job(tmp_path, request={"max_completion_tokens": 20}).submit_here()
        assert (len(server.bodies), server.looks) == (2, [])
    (tmp_path / "row").mkdir()
    request = {"max_completion_tokens": 20, "store": "{{ n == 1 }}"}
    with shelf(["dies"]) as (server, job):
        job(tmp_path / "row", rows=2, request=request).submit_here()
        assert (len(server.bodies), server.looks) == (3, [])
    (tmp_path / "refused").mkdir()
    with shelf([429, 500, "stored"]) as (server, job):
        job(tmp_path / "refused").submit_here()
        assert (len(server.bodies), server.looks) == (3, [])


@pytest.mark.parametrize("status", [408, 502, 504])
def test_a_gateway_that_lost_sight_of_the_server_is_not_asked_again(tmp_path: Path, status: int) -> None:
    """The server behind it has answered."""
    with shelf([status]) as (server, job):
        summary = job(tmp_path).submit_here()
        assert (summary.ok, len(server.bodies), summary.submit["recovered"]) == (1, 1, 1)
        (look,) = server.looks
        metadata = server.bodies[0]["metadata"]
        assert look["metadata[batchrun_run]"] == metadata[RUN]
        assert look["metadata[batchrun_request]"] == metadata[REQUEST]


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_the_listing_is_asked_once(tmp_path: Path, status: int) -> None:
    """And the user is told once, however many calls are lost; their rows are asked again."""
    acts = ["stored", *["dies"] * 8]  # the first answer lets all others go at once
    with shelf(acts, look=status) as (server, job):
        found = job(tmp_path, rows=9)
        progress = Silent()
        summary = submit(load_job(found.job, env={}, cwd=tmp_path), Options(), env={}, progress=progress)
        assert (summary.ok, len(server.bodies), len(server.looks)) == (9, 17, 1)
        assert summary.possibly_paid == 8
    (told,) = [text for text in progress.said if "stored completions" in text]
    assert told.startswith(f"local does not list stored completions (HTTP {status})")


def test_what_is_no_list_counts_as_none(tmp_path: Path) -> None:
    """A page of a proxy, with status 200."""
    with shelf(["dies", "dies"], look=b"<html>welcome</html>") as (server, job):
        summary = job(tmp_path).submit_here()
        assert (summary.ok, len(server.bodies), len(server.looks)) == (1, 3, 1)


@pytest.mark.long
@pytest.mark.parametrize("look", [401, 500, 400, "dies"])
def test_a_look_that_fails_costs_no_row_its_answer(tmp_path: Path, look: int | str) -> None:
    """The call is made again, as without stored completions."""
    with shelf(["dies"], look=look) as (server, job):
        summary = job(tmp_path).submit_here()
        assert (summary.ok, summary.failed, len(server.bodies)) == (1, 0, 2)
        assert summary.submit["recovered"] == 0


def test_a_run_that_stops_does_not_wait_for_a_look(tmp_path: Path) -> None:
    """Longer than for calls under way; the next submit looks again, and finds the answer."""
    with shelf(["dies"], look="hangs") as (server, job):
        found = job(tmp_path)
        began = time.monotonic()
        with ThreadPoolExecutor(1) as thread:  # where no signal comes, and interrupts are asked for
            stopped = thread.submit(
                found.submit_here, interrupts=lambda: len(server.looks), drain=0.5
            ).result()
        assert time.monotonic() - began < PATIENCE - 3
        assert (stopped.exit_code, stopped.pending, stopped.possibly_paid) == (130, 1, 1)
        server.look = "listed"
        summary = found.submit_here()
        assert (summary.ok, len(server.bodies), summary.submit["recovered"]) == (1, 1, 1)
        assert summary.possibly_paid == 0


def test_a_server_that_ignores_the_query_gives_no_row_another_ones_answer(tmp_path: Path) -> None:
    """The stamps are looked at: each row has what it was answered, where all are listed for each."""
    with shelf(["dies"] * 4, filtered=False) as (server, job):
        found = job(tmp_path, rows=4)
        summary = found.submit_here()
        assert (summary.ok, len(server.bodies), summary.submit["recovered"]) == (4, 4, 4)
        rows = found.results().to_dicts()
        assert [row["completion"] for row in rows] == [f"to row {n:06d}: please answer" for n in range(4)]


@pytest.mark.long
def test_a_completion_answers_one_call(tmp_path: Path) -> None:
    """One that would not do is not taken for the answer to the next call, which was lost without one."""
    with shelf(["stored", "cut", "lost"]) as (server, job):
        found = job(tmp_path, prompt=TURNS, fail_on=["truncated"])
        server.acts[3:] = ["stored"]
        assert found.submit_here().errors == {"truncated": 1}
        server.kept[-1]["created"] += 60  # else it would be too old as well
        summary = found.submit_here(retry_failed=frozenset({"truncated"}))
        assert (summary.ok, summary.submit["recovered"]) == (1, 0)
        assert len(server.looks) == 3
        assert len(server.bodies) == 5


@pytest.mark.long
def test_an_answer_of_an_earlier_asking_is_too_old(tmp_path: Path) -> None:
    """The row failed with it, is asked again, and the call is lost: its answer is another one."""
    with shelf(["cut", "lost"]) as (server, job):
        found = job(tmp_path, fail_on=["truncated"])
        assert found.submit_here().errors == {"truncated": 1}
        summary = found.submit_here(retry_failed=frozenset({"truncated"}))
        assert (summary.ok, summary.submit["recovered"], len(server.bodies)) == (1, 0, 3)


RUN_ID, NOW = "run", 1_800_000_000.0
STAMP = Stamp("job", RUN_ID, "r1", "digest")
THERE = "Fri, 15 Jan 2027 09:00:00 GMT"
"""An hour after NOW."""


def stored(name: Any = "c1", created: Any = NOW + 1, **changed: Any) -> dict[str, Any]:
    """A completion as a listing has it."""
    choice = {"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}
    return {"id": name, "created": created, "choices": [choice], "metadata": STAMP.pairs(), **changed}


@pytest.mark.parametrize(
    ("listed", "headers", "found"),
    [
        ([], {}, None),
        ([stored()], {}, "c1"),
        ([stored("old", NOW), stored("new", NOW + 9), stored("mid", NOW + 5)], {}, "new"),
        ([stored("used", NOW + 9), stored("other")], {}, "other"),
        ([stored(model="another-name")], {}, "c1"),
        ([stored(created=None)], {}, "c1"),
        ([stored(created=NOW - UNKNOWN_SLACK)], {}, "c1"),
        ([stored(created=NOW - UNKNOWN_SLACK - 1)], {}, None),
        ([stored(created=NOW + 3600 - SLACK)], {"date": THERE}, "c1"),
        ([stored(created=NOW + 3600 - SLACK - 1)], {"date": THERE}, None),
        ([stored(created=NOW - UNKNOWN_SLACK)], {"date": "yesterday"}, "c1"),
        ([stored(created=NOW - UNKNOWN_SLACK)], {"date": f"Mon, 01 Jan 2024 00:00:00 +{10**24}"}, "c1"),
        ([stored(metadata={**STAMP.pairs(), key: "x"}) for key in (RUN, ROW, REQUEST)], {}, None),
        ([stored(metadata={**STAMP.pairs(), JOB: "x", "a": "b"})], {}, "c1"),
        ([stored(metadata=None), stored(metadata=[]), None, 3, stored(None), stored(7)], {}, None),
        ([stored(choices=[]), stored(choices=None), stored(error={"message": "x"})], {}, None),
    ],
)
def test_which_of_a_listing_will_do(listed: list[Any], headers: dict[str, str], found: str | None) -> None:
    """The newest with the stamp, not used before, an answer, and of this asking by the server's own clock."""
    reply = Response(200, headers, json.dumps({"data": listed}).encode(), 0.1)
    newest = Wanted(STAMP, NOW, {"used"}).newest(reply, NOW)
    assert (newest and newest["id"]) == found


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"data": {}}', b'{"object": "list"}'])
def test_what_is_no_listing_is_refused(body: bytes) -> None:
    """So that it is not asked for again."""
    with pytest.raises(ValueError, match="its answer is no list"):
        Wanted(STAMP, NOW).newest(Response(200, {}, body, 0.1), NOW)


LOST = NoResponse("connection", "it died", sent=True, latency=2.0)


class Looked:
    """One lost call in virtual time; `answers` says how each look is answered, the last one for ever."""

    def __init__(self, folder: Path, answers: Sequence[Any], *, deadline: float = 600.0, took: float = 0.0):
        self.folder, self.answers, self.deadline, self.took = folder, answers, deadline, took
        self.times: list[float] = []
        self.exchange: Exchange = run_virtual(self._look)

    async def _look(self) -> Exchange:
        job, self.clock, self.counters = (
            job_of(self.folder, {"request": {"store": True}}),
            VirtualClock(),
            Counters(),
        )
        server = Server("http://main/v1", headers={})
        resources = Resources(server, HttpxTransport(httpx.MockTransport(self._answer), Timeouts(9, 99, 99)))
        request = Renderer(job).render({"text": "hello"})
        self.recovery = Recovery(
            "job",
            RUN_ID,
            {"main": resources},
            self.counters,
            self.clock,
            lambda _: None,
            lambda *_, **__: None,
        )
        task = Task(0, 0, "r1", 0, request.request_hash, request, (0,))
        sent = Sent(0, 0, 0, 0, request.request_hash, "main/large", "main", 0, EPOCH, 1)
        self.stamp = self.recovery.stamp("r1", request.request_hash, "", "main/large")
        found = await self.recovery.in_place_of(LOST, task, sent, RowProgress(1, self.deadline))
        self.ended = self.clock.monotonic()
        return found

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1" + PATH
        self.times.append(round(self.clock.monotonic(), 3))
        answer = self.answers[min(len(self.times), len(self.answers)) - 1]
        await self.clock.sleep(self.took)
        data = [stored(metadata=self.stamp.pairs())] if answer == "there" else []
        return httpx.Response(200 if answer in ("there", "empty") else answer, json={"data": data})


@pytest.mark.parametrize(
    ("answers", "times", "found"),
    [
        (["there"], [0.0], True),
        (["empty", "there"], [0.0, 1.0], True),
        (["empty", 500, "there"], [0.0, 1.0, 4.0], True),
        (["empty"], [0.0, 1.0, 4.0], False),
        ([503], [0.0, 1.0, 4.0], False),
        ([404], [0.0], False),
    ],
)
def test_there_are_three_looks_in_four_seconds(
    tmp_path: Path, answers: list[Any], times: list[float], found: bool
) -> None:
    """As long as none finds the answer; what came of the call stays as it was then."""
    looked = Looked(tmp_path, answers)
    assert looked.times == times
    assert looked.counters.recovered == found
    if found:
        assert isinstance(looked.exchange, Response)
        assert (looked.exchange.status, looked.exchange.latency) == (200, 2.0 + times[-1])
    else:
        assert looked.exchange is LOST


@pytest.mark.parametrize(
    ("deadline", "took", "times", "ended"),
    [
        (0.0, 0.0, [], 0.0),
        (2.5, 0.0, [0.0, 1.0], 2.5),
        (600.0, 60.0, [0.0], PATIENCE),
        (3.0, 60.0, [0.0], 3.0),
    ],
)
def test_looks_end_with_the_rows_time_or_their_own(
    tmp_path: Path, deadline: float, took: float, times: list[float], ended: float
) -> None:
    """A listing that hangs keeps no row for long."""
    looked = Looked(tmp_path, ["empty"], deadline=deadline, took=took)
    assert looked.exchange is LOST
    assert (looked.times, looked.ended) == (times, ended)
