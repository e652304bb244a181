"""Rows through everything between the engine and the wire, in virtual time: the endpoints are functions.

    report = ask(folder, {"main": [SAYS_429, OK]}, rows=2)
    report.times["main"]        when each call came, in seconds

`Stack` is the one place that knows how the parts are put together.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import httpx

from batchrun.admission import Admission, Unavailable
from batchrun.answer.answerer import Answerer
from batchrun.answer.attempts import Attempts
from batchrun.answer.calls import Caller
from batchrun.answer.in_flight import InFlightCalls
from batchrun.answer.task import Task
from batchrun.client import Client, Timeouts
from batchrun.engines.restore import retry_rules
from batchrun.job import Job
from batchrun.outcome import Failed
from batchrun.prices import ModelPrices
from batchrun.render.renderer import Renderer
from batchrun.run_folder.journal.journal import Journal
from batchrun.summary import Counters
from tests.clock import VirtualClock, run_virtual
from tests.job.jobs import load

JITTER = 0.5
"""What every draw gives, so that waits are exact."""

EPOCH = 1_800_000_000.0
"""The wall-clock time at which a run begins."""

Says: TypeAlias = Callable[[httpx.Request], Awaitable[httpx.Response]]
"""What an endpoint does with one call; it may raise what a transport raises."""


def says(
    status: int,
    body: object = b"",
    *,
    after: float = 0.0,
    headers: Mapping[str, str] | None = None,
    **named: str,
) -> Says:
    """Answer with `status` and `body` (bytes, or a JSON document) after so many seconds.

    `named` are headers whose names are Python's, with dashes for underscores.
    """
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in named.items()} | dict(headers or {})

    async def answer(_: httpx.Request) -> httpx.Response:
        await anyio.sleep(after)
        return httpx.Response(status, content=data, headers=sent)

    return answer


def raises(error: type[httpx.TransportError]) -> Says:
    """Fail as the transport does."""

    async def answer(_: httpx.Request) -> httpx.Response:
        raise error("no luck")

    return answer


def each_row(**by_row: Says) -> Says:
    """Answer by the row, `row_0=…`; the others get an answer."""

    async def answer(request: httpx.Request) -> httpx.Response:
        name = json.loads(request.content)["messages"][0]["content"].replace(" ", "_")
        return await by_row.get(name, OK)(request)

    return answer


def completion(**choice: Any) -> dict[str, Any]:
    """A completion of one choice."""
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "yes"}, **choice}]}


OK = says(200, completion())


@dataclass
class Script:
    """An endpoint that says one thing after another, the last one for ever, and when it was called."""

    lines: Sequence[Says]
    times: list[float] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        line = self.lines[min(len(self.times), len(self.lines) - 1)]
        self.times.append(round(VirtualClock().monotonic(), 3))
        return await line(request)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the rows."""

    times: dict[str, list[float]]
    """When each endpoint was called, in seconds to the millisecond."""
    outcomes: list[str]
    """By row: `ok`, the error's type, or `pending`."""
    closed: list[str]
    """What is closed at the end: `main`, `main/large`, `main for 600 s` from the beginning of the run."""
    goes_on: bool
    """Whether a row that came now could be asked of a model."""


class Stack:
    """The parts of a run from the answerer down, for `job`, over `endpoints` as functions."""

    def __init__(self, job: Job, folder: Path, endpoints: Mapping[str, Says]) -> None:
        self.clock = VirtualClock(EPOCH)
        self.admission = Admission(
            {name: endpoint.limits for name, endpoint in job.endpoints.items()},
            {(model.endpoint, model.name): model.limits for model in job.models},
            clock=self.clock,
            jitter=lambda: JITTER,
            retry=retry_rules(job),
        )
        self.counters = Counters()
        self.in_flight_calls = InFlightCalls()
        self.journal = Journal(folder, 1, _Still())
        timeout = job.retry.timeout
        timeouts = Timeouts(timeout.connect, timeout.idle, timeout.total)
        clients = {
            name: Client(
                f"http://{name}/v1",
                headers={},
                timeouts=timeouts,
                transport=httpx.MockTransport(answer),  # type: ignore[arg-type] # it takes coroutines too
                clock=self.clock.monotonic,
            )
            for name, answer in endpoints.items()
        }
        prices = ModelPrices(job, EPOCH)
        caller = Caller(
            job.models,
            clients,
            prices,
            self.admission,
            self.journal,
            self.in_flight_calls,
            self.counters,
            self.clock,
        )
        self.latencies = caller.latencies[0]
        attempts = Attempts(
            caller,
            self.admission,
            retry_rules(job),
            clock=self.clock,
            jitter=lambda: JITTER,
            log=lambda *_, **__: None,
            advise=lambda *_: None,
        )
        self.answerer = Answerer(
            job.models,
            attempts,
            self.admission,
            self.journal,
            row_timeout=timeout.row,
            fallback_on=frozenset(job.fallback_on),
            price_of=lambda *_: None,
            clock=self.clock,
        )


class _Still(VirtualClock):
    """A clock that stands still: nothing syncs the journal here, and no row is to wait for that."""

    def monotonic(self) -> float:
        return 0.0


def ask(folder: Path, endpoints: Mapping[str, Iterable[Says]], *, rows: int = 1, **sections: Any) -> Report:
    """Ask for `rows` rows, all begun at once in their order; `sections` of the job file replace those here.

    The model is `main/large`. `main` and `spare` are the endpoints.
    """
    job = job_of(folder, sections)
    scripts = {name: Script(list(lines)) for name, lines in endpoints.items()}

    async def main() -> Report:
        stack = Stack(job, folder, scripts)
        renderer = Renderer(job)
        outcomes = [""] * rows
        async with anyio.create_task_group() as group:
            for row in range(rows):
                group.start_soon(_one, stack, renderer, row, outcomes)
                await anyio.lowlevel.checkpoint()
        stack.journal.close()
        return Report(
            {name: script.times for name, script in scripts.items()},
            outcomes,
            [_closing(closed) for closed in stack.admission.reasons()],
            any(stack.admission.is_available(model.endpoint, model.name) for model in job.models),
        )

    return run_virtual(main)


async def _one(stack: Stack, renderer: Renderer, row: int, outcomes: list[str]) -> None:
    request = renderer.render({"text": f"row {row}"})
    models = tuple(range(len(renderer.models)))
    done = await stack.answerer.answer(
        Task(row, row, f"r{row}", row, getattr(request, "request_hash", ""), request, models)
    )
    if isinstance(done, Unavailable):
        outcomes[row] = "pending"
    else:
        outcomes[row] = done.outcome.error.type if isinstance(done.outcome, Failed) else "ok"


def _closing(closed: Unavailable) -> str:
    name = closed.endpoint if closed.model is None else f"{closed.endpoint}/{closed.model}"
    return name if closed.until is None else f"{name} for {closed.until - EPOCH:g} s"


def job_of(folder: Path, sections: Mapping[str, Any]) -> Job:
    (folder / "rows.jsonl").write_text('{"text": "row 0"}\n')
    limits = {"concurrency": 32}
    document: dict[str, Any] = {
        "name": "job",
        "input": {"path": "rows.jsonl"},
        "prompt": {"messages": [{"role": "user", "content": "{{ text }}"}]},
        "model": "main/large",
        "endpoints": {
            "main": {"base_url": "http://main/v1", "limits": limits},
            "spare": {"base_url": "http://spare/v1", "limits": limits},
        },
        "retry": {"max_attempts": 4, "backoff": {"initial": 1, "max": 8}, "timeout": {"total": 10}},
    }
    return load(folder, json.dumps({**document, **sections}))
