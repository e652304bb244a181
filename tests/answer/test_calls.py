"""What a call counts towards: the run's counters and the endpoint's rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from batchrun import codec
from batchrun.admission import Admission, Unavailable
from batchrun.answer.calls import Caller
from batchrun.answer.in_flight import InFlightCalls
from batchrun.answer.task import Question, RowProgress, StepKey, Task
from batchrun.client import Client, Timeouts
from batchrun.job import Job
from batchrun.limits import Limits
from batchrun.prices import ModelPrices
from batchrun.render.renderer import Renderer
from batchrun.run_folder.journal.journal import Journal
from batchrun.summary import Counters
from tests.clock import VirtualClock, run_virtual
from tests.job.jobs import load
from tests.stack import OK, ask, completion, says

USAGE = {"prompt_tokens": 700, "completion_tokens": 200, "total_tokens": 900}


@pytest.mark.parametrize(
    "document",
    [
        {"choices": [{"message": {"content": "a"}}]},
        {"choices": []},
        {"error": {"message": "overloaded"}},
    ],
)
def test_a_200_counts_what_it_took_with_an_answer_or_without(tmp_path: Path, document: Any) -> None:
    """In the run's counters, and against `tpm`: 900 of 1,000 tokens are gone, so the next call waits."""

    async def main() -> None:
        counters, clock = Counters(), VirtualClock()
        job = write_job(tmp_path)
        admission = Admission(
            {"local": Limits(tpm=1000)}, {("local", "small"): Limits()}, clock=clock, jitter=lambda: 0.5
        )
        transport = httpx.MockTransport(lambda _: httpx.Response(200, json={**document, "usage": USAGE}))
        client = Client("http://local/v1", headers={}, timeouts=Timeouts(5, 5, 5), transport=transport)
        journal = Journal(tmp_path, 1, clock)
        caller = Caller(
            job.models,
            {"local": client},
            ModelPrices(job, 0.0),
            admission,
            journal,
            InFlightCalls(),
            counters,
            clock,
        )
        request = Renderer(job).render({"text": "hello"})
        task = Task(0, 0, "r0", 0, request.request_hash, request, (0,))
        for step in range(2):
            ask, progress = StepKey(step, ""), RowProgress(step, 600.0)
            judged = await caller.call(Question(task, ask, 0, job.models[0], b"{}", progress))
            assert not isinstance(judged, Unavailable)
            assert clock.monotonic() >= 60 * step
        assert (counters.prompt_tokens, counters.completion_tokens) == (1400, 400)
        journal.close()

    run_virtual(main)


def write_job(folder: Path) -> Job:
    """A job of one model."""
    (folder / "rows.jsonl").write_text('{"text": "hello"}\n')
    document = {
        "name": "job",
        "input": {"path": "rows.jsonl"},
        "prompt": {"messages": [{"role": "user", "content": "{{ text }}"}]},
        "request": {"max_completion_tokens": 200},
        "model": "local/small",
        "endpoints": {"local": {"base_url": "http://local/v1"}},
    }
    return load(folder, codec.dumps(document).decode())


def test_requests_that_the_server_refuses_leave_the_days_limit_to_the_others(tmp_path: Path) -> None:
    """25 of 50 rows are too long; of the 30 calls that are left for today the server counts 25."""
    left = 30

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal left
        row = int(codec.loads(request.content)["messages"][0]["content"].split()[1])
        await anyio.sleep(0.1)
        left -= 1 - row % 2
        said = {
            "x-ratelimit-limit-requests-day": "14400",
            "x-ratelimit-remaining-requests-day": str(left),
            "x-ratelimit-reset-requests-day": "72000",
        }
        if row % 2:
            error = {"message": "the prompt is too long", "code": "context_length_exceeded"}
            return httpx.Response(400, json={"error": error}, headers=said)
        return httpx.Response(200, json=completion(), headers=said)

    two = {"model": {"model": "main/large", "limits": {"concurrency": 2}}}
    report = ask(tmp_path, {"main": [answer], "spare": []}, rows=50, **two)
    assert sorted(report.outcomes) == ["context_length"] * 25 + ["ok"] * 25
    assert (report.closed, left) == ([], 5)


@pytest.mark.parametrize(("status", "waits"), [(400, False), (200, True)])
def test_a_refused_request_takes_no_tokens_of_the_minute(tmp_path: Path, status: int, waits: bool) -> None:
    """Each asks for more than half of `tpm`; an answer without usage may have taken all of that."""
    limits = {"tpm": 300, "concurrency": 1, "count": "used"}
    sections = {
        "request": {"max_completion_tokens": 200},
        "model": {"model": "main/large", "limits": limits},
    }
    first = says(status, completion() if status == 200 else {"error": {"message": "no"}})
    times = ask(tmp_path, {"main": [first, OK], "spare": []}, rows=2, **sections).times["main"]
    assert (times[1] > 50) == waits
