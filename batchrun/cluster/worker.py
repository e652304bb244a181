"""The worker's side: ranges of the input to outcomes, by the local engine's own loop."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from batchrun import __version__
from batchrun.admission.states import Unavailable
from batchrun.answer.in_flight import InFlightCalls
from batchrun.budget import Spend
from batchrun.budget.opening import open_budget
from batchrun.clock import PausableClock, SystemClock
from batchrun.cluster.leased import ForwardedJournal, LeasedAdmission
from batchrun.cluster.messages import (
    Allowance,
    Delivery,
    Ended,
    FromDriver,
    Granted,
    LeftRow,
    Logged,
    NoMoreShards,
    Said,
    Setup,
    Shard,
    StopNow,
)
from batchrun.cluster.post import Post
from batchrun.cluster.reading import Rows
from batchrun.endpoints.checks import check_keys
from batchrun.endpoints.endpoints import Opened, open_endpoints
from batchrun.engines.answering import Parts
from batchrun.engines.control import Control
from batchrun.engines.local import LocalEngine
from batchrun.engines.open_files import fitting, raise_limit
from batchrun.errors import BatchrunError, UsageError, cause
from batchrun.job import Job
from batchrun.job.snapshot import load_submitted
from batchrun.outcome import ErrorType
from batchrun.policy.breaker import Breaker
from batchrun.prices import ModelPrices
from batchrun.render.renderer import Renderer
from batchrun.summary import Counters, Stop

PATIENCE = 1.0
"""Seconds after which a worker that has nothing to tell says so."""

_LOOK = 0.2
"""Seconds between two looks whether anything has ended the work while it waits for a range."""


class Worker:
    """Works on ranges of one run. `environment` is that of its own machine: keys come from there."""

    def __init__(self, setup: Setup, environment: Mapping[str, str]) -> None:
        self._setup = setup
        self._env = environment
        self._counters = Counters()
        self._post = Post(self._counters)
        self._shards: queue.Queue[Shard | None] = queue.Queue()
        self._in_flight_calls = InFlightCalls()
        self._clock = PausableClock(SystemClock())
        self._control: _WorkerControl | None = None
        self._admission = LeasedAdmission(self._post, self._clock)
        self._stop: StopNow | None = None

    async def collect(self, received: int) -> Delivery:
        """What is to be told: see `Post.collect`."""
        return await self._post.collect(received, patience=PATIENCE)

    def take(self, messages: list[FromDriver]) -> None:
        """What the driver says."""
        for message in messages:
            match message:
                case Granted():
                    self._admission.granted(message)
                case Allowance():
                    self._allow(message)
                case Shard():
                    self._shards.put(message)
                case NoMoreShards():
                    self._shards.put(None)
                case StopNow():
                    self._stop = message
                    self._shards.put(None)
                    if self._control:
                        self._control.obey(message)

    def _allow(self, allowance: Allowance) -> None:
        admission = self._admission
        admission.allowance = allowance
        if allowance.is_paused and not self._clock.is_paused:
            self._clock.pause()
            admission.let_go = anyio.Event()
        elif self._clock.is_paused and not allowance.is_paused:
            self._clock.resume()
            admission.let_go.set()

    async def work(self) -> None:
        """Work until there are no more ranges, or the driver says stop; what ends it otherwise is told."""
        try:
            stop = await self._work()
        except BaseExceptionGroup as group:
            found = group.split(BatchrunError)[0]
            if found is None:
                raise
            self._post.put(Ended(error=_told(cause(found))))
        except BatchrunError as error:
            self._post.put(Ended(error=_told(error)))
        else:
            self._post.put(Ended(None if self._stop else stop))

    async def _work(self) -> Stop | None:
        if self._setup.version != __version__:
            raise UsageError(
                f"batchrun {__version__} is installed here, and the driver has {self._setup.version}",
                hint="Install the same version on every node.",
            )
        job = self._load()
        renderer = Renderer(job)
        stores = renderer.may_store
        async with open_endpoints(job, self._env, say=self.say, with_resources=stores) as endpoints:
            journal = ForwardedJournal(self._post)
            parts = self._parts(job, renderer, endpoints, journal)
            control = _WorkerControl(
                self._post, self._admission, journal, self._in_flight_calls, self._counters, self._setup.drain
            )
            self._control = control
            if self._stop:
                control.obey(self._stop)
            engine = LocalEngine(parts.answerer(parts.attempts(parts.caller())), control, parts.spare_rows)
            chunks = Rows(job, renderer).chunks(self._ranges())
            return await control.run(lambda: engine.work(chunks))

    def _load(self) -> Job:
        with tempfile.TemporaryDirectory(prefix="batchrun-") as folder:
            kept = Path(folder) / "job.yaml"
            kept.write_text(self._setup.job, encoding="utf-8")
            env = _with(self._env, self._setup.variables)
            job = load_submitted(kept, env=env, cwd=Path(folder))
            if self._setup.retry_model is not None:
                other = load_submitted(kept, model=self._setup.retry_model, env=env, cwd=Path(folder))
                endpoints = {**other.endpoints, **job.endpoints}
                job = replace(job, models=(*job.models, other.models[0]), endpoints=endpoints)
        check_keys(job, self._env)
        return fitting(job, raise_limit())

    def _parts(self, job: Job, renderer: Renderer, endpoints: Opened, journal: ForwardedJournal) -> Parts:
        """What a row passes, as a run on one machine has it, over the driver's books."""
        self._admission.budget = open_budget(job, Spend(), self._clock)  # of which only the caps count here
        return Parts(
            job,
            renderer,
            endpoints.clients,
            ModelPrices(job, self._clock.wall()),
            self._admission,
            journal,
            self._in_flight_calls,
            self._counters,
            self._clock,
            self.say,
            self._log,
            self._setup.run,
            endpoints.resources,
        )

    def _ranges(self) -> Iterator[Shard]:
        """In a thread: each range as it comes, to the last."""
        while not self._in_flight_calls.is_draining:
            with suppress(queue.Empty):
                if (shard := self._shards.get(timeout=_LOOK)) is None:
                    return
                yield shard

    def say(self, text: str) -> None:
        """Tell the user."""
        self._post.put(Said(text))

    def _log(self, event: str, /, **fields: Any) -> None:
        self._post.put(Logged(event, fields))


class _WorkerControl(Control):
    """`Control` where rows are counted, and left, by the driver."""

    def __init__(
        self,
        post: Post,
        admission: LeasedAdmission,
        journal: ForwardedJournal,
        in_flight_calls: InFlightCalls,
        counters: Counters,
        drain: float,
    ) -> None:
        super().__init__(
            admission,
            journal,
            in_flight_calls,
            counters,
            Breaker(1.0, 1),
            chains=frozenset(),
            drain=drain,
            seal=lambda _path: None,
        )
        self._post = post

    def obey(self, stop: StopNow) -> None:
        """The driver stops the run."""
        self.stop(Stop("SIGTERM", "the driver has stopped the run"), stop.drain)

    def leave(self, task: int, models: tuple[int, ...], closed: Unavailable) -> None:
        self._post.put(LeftRow(task, models, closed))

    def count(self, failed: ErrorType | None) -> None:
        """The driver counts what it has recorded."""


def _with(env: Mapping[str, str], variables: Mapping[str, str | None]) -> dict[str, str]:
    """An environment with these variables as the driver has them; where it has none, here is none either."""
    merged = {**env, **variables}
    return {name: value for name, value in merged.items() if value is not None}


def _told(error: BaseException) -> tuple[str, str, str | None]:
    assert isinstance(error, BatchrunError)
    return type(error).__name__, error.message, error.hint
