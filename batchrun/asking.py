"""The rows that a submit must ask for, through the engine: endpoints, gates and journal opened around it."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import polars as pl

from batchrun.admission import Admission
from batchrun.answer.answerer import Answerer, Rules
from batchrun.answer.attempts import Asker
from batchrun.answer.calls import Caller
from batchrun.answer.tail import Tail
from batchrun.breaker import Breaker
from batchrun.budget import Spend
from batchrun.chat.families import refusals
from batchrun.clock import Clock, SystemClock
from batchrun.endpoints import open_clients
from batchrun.engines.local import Beside, LocalEngine
from batchrun.errors import StorageError
from batchrun.flights import Flights
from batchrun.outcome import Error
from batchrun.pricing import ModelPrices, each_day, open_budget
from batchrun.progress import Progress, View
from batchrun.restore import gates, retry_rules
from batchrun.run_folder.checkpoint import write_admitted
from batchrun.run_folder.journal import Journal
from batchrun.run_folder.log import Log
from batchrun.run_folder.records import Admitted
from batchrun.run_folder.sealed import JournalContents, seal
from batchrun.summary import Counters, Stop
from batchrun.survey import Survey
from batchrun.tasks import Chains, tasks

FUNCTION_ROWS = 40
"""Rows beyond the endpoints' places that may wait for their functions."""


@dataclass(frozen=True, slots=True)
class Asking:
    """One run of the engine. `drain` in seconds."""

    survey: Survey
    chains: Chains
    env: Mapping[str, str]
    drain: float
    counters: Counters
    progress: Progress
    log: Log
    prices: ModelPrices
    spent: Spend
    """What the run has taken of its budget before this submit."""
    time_left: float | None
    """Seconds until the wall time is over."""
    canary: int | None
    """Rows that go first, unless so many have gone well before."""
    clock: Clock = SystemClock()  # noqa: RUF009 - it has no state

    def ask(self, rows: pl.DataFrame) -> Stop | None:
        """Ask for `rows` (see `index.match`); what stopped it, None when all have their outcome.

        Raises what reading the input or opening an endpoint raises.
        """
        try:
            # what a user's functions print must not stand among the data
            with redirect_stdout(sys.stderr) if self.survey.renderer.functions else nullcontext():
                return anyio.run(self._run, rows)
        except StorageError as error:
            return Stop("storage", str(error))
        except BaseExceptionGroup as group:
            cause = _cause(group)
            if isinstance(cause, StorageError):
                return Stop("storage", str(cause))
            raise cause from None

    async def _run(self, rows: pl.DataFrame) -> Stop | None:
        job = self.survey.job
        async with open_clients(job, self.env, say=self.progress.say) as clients:
            budget, flights = open_budget(job, self.spent, self.clock), Flights()
            admission = gates(job, self.survey.checkpoint, self.clock, budget)
            journal = await self._open_journal(admission)
            caller = Caller(
                job.models,
                clients,
                self.prices,
                admission,
                journal,
                flights,
                self.counters,
                self.clock,
            )
            answerer = self._answerer(caller, admission, journal)
            engine = LocalEngine(
                answerer,
                admission,
                journal,
                flights,
                self.counters,
                Breaker(job.stop_when.failed, job.stop_when.after),
                chains=self.chains.all(),
                drain=self.drain,
                seal=seal_file,
                canary=self.canary,
                time_left=self.time_left,
            )
            view = View(self.counters, flights, admission)
            wanted = tasks(self.survey, rows, self.chains)
            try:
                spare = FUNCTION_ROWS if job.run_tools else 0
                return await engine.run(wanted, spare, *self._beside(view, caller))
            finally:
                learned = Admitted(admission.snapshot())
                with suppress(StorageError):  # else the calls in the journal say what was sent
                    journal.append(learned)
                journal.close()
                with suppress(StorageError, OSError):
                    write_admitted(self.survey.checkpoint.folder, learned.state)
                seal_file(journal.path)

    def _answerer(self, caller: Caller, admission: Admission, journal: Journal) -> Answerer:
        job = self.survey.job
        asker = Asker(
            job.models,
            caller,
            admission,
            retry_rules(job),
            clock=self.clock,
            jitter=random.random,
            log=self.log,
            advise=self._advise,
        )
        return Answerer(
            job.models,
            asker,
            admission,
            journal,
            self.survey.renderer.functions,
            Rules(job.retry.timeout.row, frozenset(job.fallback_on)),
            self.counters,
            price_of=self.prices.spelled,
            clock=self.clock,
            log=self.log,
        )

    def _beside(self, view: View, caller: Caller) -> Iterator[Beside]:
        """What runs along with the calls."""
        yield lambda: self.progress.watch(view)
        if tail := self.survey.job.tail:
            yield Tail(
                view.flights,
                caller.latencies,
                self.counters,
                hedge_after=tail.hedge_after,
                clock=self.clock,
            ).watch
        if (budget := view.admission.budget) and budget.caps.per == "day":
            yield partial(each_day, budget, self.clock, view.admission.budget_freed)

    def _advise(self, index: int, error: Error) -> None:
        """Say which parameters a model is known to refuse, once it has refused a request."""
        model = self.survey.job.models[index]
        if known := refusals(model.name, model.request):
            self.progress.say(f"{model.spelled} refuses requests: {error.message}\n" + "\n".join(known))

    async def _open_journal(self, admission: Admission) -> Journal:
        """A new journal file that carries what was under way; only then may the old ones go."""
        checkpoint = self.survey.checkpoint
        journal = Journal(checkpoint.folder, checkpoint.next_number, self.clock)
        for task, history in checkpoint.unfinished.items():
            journal.carry(task, history.lines)
        journal.append(Admitted(admission.snapshot()))
        await journal.sync()
        checkpoint.retire_journals()
        return journal


def seal_file(closed: Path) -> None:
    """Turn a closed journal file into a sealed part.

    The file stays when it holds the only records of an unfinished task.
    """
    contents = JournalContents(closed)
    number = int(closed.stem.rpartition("-")[2])
    seal(contents.finished, closed.parent, number)
    carried = closed.with_name(f"journal-{number + 1:06d}.log").exists()
    if carried or not contents.unfinished:
        closed.unlink()


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended a task group; others in it follow from the first."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
