"""The rows that a submit must ask for, through the engine: endpoints, gates and journal opened around it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import polars as pl

from batchrun.admission import Admission
from batchrun.answer.in_flight import InFlightCalls
from batchrun.budget.opening import each_day, open_budget
from batchrun.clock import PausableClock, SystemClock
from batchrun.endpoints.endpoints import Opened, key_sources, open_endpoints
from batchrun.engines.answering import Parts
from batchrun.engines.control import Beside, Control
from batchrun.engines.driving import in_this_process
from batchrun.engines.pausing import obey_pauses
from batchrun.engines.restore import gates
from batchrun.engines.run_context import ReadyEngine, RunContext
from batchrun.engines.storage_watch import watch_storage
from batchrun.engines.tasks import Chains
from batchrun.engines.uploading import keep_uploading
from batchrun.errors import RunFolderLostError, StorageError
from batchrun.errors import cause as ended_by
from batchrun.policy.breaker import Breaker
from batchrun.prices import ModelPrices
from batchrun.progress.display import Progress, View
from batchrun.progress.snapshot import tell_others
from batchrun.remote.leased_run import LeasedRun
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.live import read_live, remove_live
from batchrun.run_folder.log import Log
from batchrun.submitting.journal import open_journal, seal_file
from batchrun.submitting.options import Options
from batchrun.summary import Counters, Stop
from batchrun.survey.survey import Survey

_COLLECT = 50_000, 20, 50
"""Objects more than before, and looks at the young ones, after which the collector of cycles looks."""


@dataclass(frozen=True, slots=True)
class EngineRun:
    """One run of the engine. The job's last model is that of `options.retry_model`, if there is one."""

    survey: Survey
    options: Options
    env: Mapping[str, str]
    counters: Counters
    progress: Progress
    log: Log
    prices: ModelPrices
    remote: LeasedRun | None
    """A run in object storage, which the run folder is a copy of."""
    canary: int | None
    """Rows that go first, unless so many have gone well before."""
    time_left: float | None
    """Seconds until the wall time is over."""

    def run(self, rows: pl.DataFrame, states: pl.DataFrame | None) -> Stop | None:
        """Ask for `rows` (see `index.match`); what stopped it, None when all have their outcome.

        `states` are all rows of the job, where they go by batches. Raises what reading the input or opening
        an endpoint raises, and RunFolderLostError.
        """
        try:
            # what a user's functions print, or Ray of nodes that come and go, must not stand among the data
            prints = self.survey.renderer.functions or self.survey.job.engine.kind == "ray"
            quiet = redirect_stdout(sys.stderr) if prints else nullcontext()
            with quiet, _seldom_collecting():
                return anyio.run(self._by_its_engine, rows, states)
        except BaseExceptionGroup as group:
            cause = ended_by(group)
        except StorageError as error:
            cause = error
        if isinstance(cause, StorageError) and not isinstance(cause, RunFolderLostError):
            return Stop("storage", str(cause))
        raise cause from None

    async def _by_its_engine(self, rows: pl.DataFrame, states: pl.DataFrame | None) -> Stop | None:
        """Ask through the engine that the job names."""
        survey, chains, say = self.survey, self._chains(), self.progress.say
        if survey.job.engine.kind == "ray":
            from batchrun.cluster.driving import over_ray  # Ray takes a second to load

            drain = self.options.drain
            with over_ray(survey, rows, chains, env=self.env, drain=drain, say=say, log=self.log) as prepare:
                return await self._over(prepare)
        resources = states is not None or survey.renderer.may_store
        async with open_endpoints(survey.job, self.env, say=say, with_resources=resources) as endpoints:

            def prepare(run_context: RunContext) -> ReadyEngine:
                parts = self._parts(endpoints, run_context)
                if states is None:
                    return in_this_process(survey, chains, rows, parts, run_context)
                return self._by_batches(rows, states, chains, parts, run_context)

            return await self._over(prepare)

    def _chains(self) -> Chains:
        """Which models rows are asked of."""
        models, retry = len(self.survey.job.models), self.options.retry_model
        if retry is None:
            return Chains(tuple(range(models)))
        return Chains(tuple(range(models - 1)), (models - 1,), self.options.retry_failed)

    async def _over(self, prepare: Callable[[RunContext], ReadyEngine]) -> Stop | None:
        """Open the run, and have the rows asked by what `prepare` makes over them."""
        job, checkpoint = self.survey.job, self.survey.checkpoint
        clock, in_flight_calls = PausableClock(SystemClock()), InFlightCalls()
        budget = open_budget(job, checkpoint.spend(self.prices.of_name), clock)
        admission = gates(job, checkpoint, clock, budget)
        async with open_journal(checkpoint, admission) as (journal, spare):
            control = self._control(admission, journal, in_flight_calls)
            engine = prepare(RunContext(clock, admission, journal, in_flight_calls, control))
            first = job.models[0].endpoint, job.models[0].name
            view = View(
                self.counters, in_flight_calls, admission, clock, first, engine.latencies, engine.batches
            )
            if self.remote is not None:
                self.remote.tell = partial(self._told, view)
            watch = partial(watch_storage, journal, spare, in_flight_calls, control.stop)
            beside = self._beside(view, control.stop)
            try:
                return await control.run(engine.work, *engine.beside, watch, *beside)
            finally:
                remove_live(self.survey.run)

    def _control(self, admission: Admission, journal: Journal, in_flight_calls: InFlightCalls) -> Control:
        job = self.survey.job
        return Control(
            admission,
            journal,
            in_flight_calls,
            self.counters,
            Breaker(job.stop_when.failed, job.stop_when.after),
            chains=self._chains().all(),
            drain=self.options.drain,
            seal=partial(seal_file, carried=True),
            canary=self.canary,
            time_left=self.time_left,
            seal_rows=self.options.seal_rows,
            say=self.progress.say,
            keys=key_sources(job),
            interrupts=self.options.interrupts,
        )

    def _parts(self, endpoints: Opened, run_context: RunContext) -> Parts:
        return Parts(
            self.survey.job,
            self.survey.renderer,
            endpoints.clients,
            self.prices,
            run_context.admission,
            run_context.journal,
            run_context.in_flight_calls,
            self.counters,
            run_context.clock,
            self.progress.say,
            self.log,
            self.survey.run.run_id,
            endpoints.resources,
        )

    def _by_batches(
        self, rows: pl.DataFrame, states: pl.DataFrame, chains: Chains, parts: Parts, run_context: RunContext
    ) -> ReadyEngine:
        from batchrun.batches.driving import ByBatches

        by_batches = ByBatches(
            survey=self.survey,
            chains=chains,
            states=states,
            limit=self.options.limit,
            canary=self.canary,
            given=self.options.batches,
            waits=self.options.wait,
            ship=self.remote.ship if self.remote else _nowhere,
            looks=self.options.looks,
        )
        return by_batches.prepare(parts, rows, run_context)

    def _beside(self, view: View, stop: Callable[[Stop], None]) -> Iterator[Beside]:
        """What runs along with the calls."""
        run = self.survey.run
        yield lambda: self.progress.watch(view)
        yield partial(tell_others, view, run)
        say, log = self.progress.say, self.log
        yield partial(obey_pauses, run.pause, self.remote, view.admission, view.clock, say=say, log=log)
        if self.remote is not None:
            yield partial(
                keep_uploading,
                self.remote,
                run.checkpoint_path,
                stop,
                say=say,
                log=log,
                interval=self.options.upload_interval,
            )
        if (budget := view.admission.budget) and budget.caps.per == "day":
            yield partial(each_day, budget, view.clock, view.admission.budget_freed)

    def _told(self, view: View) -> dict[str, Any]:
        """What this submit has done, and may have paid, for whoever goes on with the run elsewhere.

        Without what a provider's batches did: that can be fetched once more, and is not lost.
        """
        counters, budget = self.counters, view.admission.budget
        again = counters.from_batches
        open_ = (budget.held, budget.reserved_in_realtime) if budget else ()
        held = sum(amounts.cost_usd or 0.0 for amounts in open_)
        held_tokens = sum(amounts.tokens or 0 for amounts in open_)
        return {
            "rows": counters.finished - again.rows,
            "calls": counters.calls - again.calls,
            "tokens": counters.tokens - again.tokens + held_tokens,
            "cost_usd": round((counters.cost_usd or 0.0) - again.cost_usd + held, 12),
            "live": read_live(self.survey.run),
        }


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Let Python's collector of cycles look seldom, and not at what was there before.

    What a row leaves is freed without it, for there are no cycles in it; looking at all of that again and
    again took a fifth of a row's time.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_COLLECT)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.collect()  # 25 MB of tasks and tables that are gone, at a million rows
        gc.unfreeze()


def _nowhere() -> bool:
    """The run is kept on this machine alone."""
    return False
