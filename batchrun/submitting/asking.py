"""The rows that a submit must ask for, through the engine: endpoints, gates and journal opened around it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import polars as pl

from batchrun.admission import Admission
from batchrun.answer.flights import Flights
from batchrun.answer.tail import Tail
from batchrun.budget import Spend
from batchrun.budget.opening import each_day, open_budget
from batchrun.clock import Clock, PausableClock, SystemClock
from batchrun.endpoints.endpoints import Opened, key_sources, open_endpoints
from batchrun.engines.answering import Parts
from batchrun.engines.books import Books, Prepared
from batchrun.engines.control import Beside, Control
from batchrun.engines.local import LocalEngine, in_chunks
from batchrun.engines.pausing import obey_pauses
from batchrun.engines.restore import gates
from batchrun.engines.storage_watch import watch_storage
from batchrun.engines.tasks import Assigner, Chains
from batchrun.engines.uploading import INTERVAL, keep_uploading, why_paused
from batchrun.errors import RunFolderLostError, StorageError
from batchrun.errors import cause as ended_by
from batchrun.policy.breaker import Breaker
from batchrun.prices import ModelPrices
from batchrun.progress.display import Progress, View
from batchrun.progress.standing import tell_others
from batchrun.remote.held import Held
from batchrun.run_folder.checkpoint.checkpoint import write_admitted
from batchrun.run_folder.checkpoint.sealed import JournalContents, seal
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.journal.records import Admitted
from batchrun.run_folder.live import read_live, remove_live
from batchrun.run_folder.log import Log
from batchrun.run_folder.room import Spare
from batchrun.summary import Counters, Stop
from batchrun.survey.survey import Survey

if TYPE_CHECKING:
    from batchrun.batches.driving import ByBatches

_COLLECT = 50_000, 20, 50
"""Objects more than before, and looks at the young ones, after which the collector of cycles looks."""


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
    seal_rows: int
    """Finished rows after which a journal file is sealed."""
    interrupts: Callable[[], int] | None = None
    """How often the user has asked to stop, where signals do not come to this thread."""
    remote: Held | None = None
    """A run in object storage, which the run folder is a copy of."""
    upload_interval: float = INTERVAL
    """Seconds between two uploads of it."""
    by_batches: ByBatches | None = None
    """How rows go through the provider's batches, where they do."""
    clock: Clock = SystemClock()  # noqa: RUF009 - it has no state

    def ask(self, rows: pl.DataFrame) -> Stop | None:
        """Ask for `rows` (see `index.match`); what stopped it, None when all have their outcome.

        Raises what reading the input or opening an endpoint raises, and RunFolderLostError.
        """
        try:
            # what a user's functions print, or Ray of nodes that come and go, must not stand among the data
            prints = self.survey.renderer.functions or self.survey.job.engine.kind == "ray"
            quiet = redirect_stdout(sys.stderr) if prints else nullcontext()
            with quiet, _seldom_collecting():
                return anyio.run(self._run, rows)
        except BaseExceptionGroup as group:
            cause = ended_by(group)
        except StorageError as error:
            cause = error
        if isinstance(cause, StorageError) and not isinstance(cause, RunFolderLostError):
            return Stop("storage", str(cause))
        raise cause from None

    async def _run(self, rows: pl.DataFrame) -> Stop | None:
        if self.survey.job.engine.kind == "ray":
            with self._on_a_cluster(rows) as prepare:
                return await self._over(prepare)
        by_batches = self.by_batches is not None
        others = by_batches or self.survey.renderer.may_store
        opened = open_endpoints(self.survey.job, self.env, say=self.progress.say, with_resources=others)
        async with opened as endpoints:
            by = self._by_batches if by_batches else self._by_this_process
            return await self._over(partial(by, rows, endpoints))

    async def _over(self, prepare: Callable[[Books], Prepared]) -> Stop | None:
        """Open the books of the run, and have the rows asked by what `prepare` makes over them."""
        job = self.survey.job
        clock, flights = PausableClock(self.clock), Flights()
        budget = open_budget(job, self.spent, clock)
        admission = gates(job, self.survey.checkpoint, clock, budget)
        spare = Spare(self.survey.checkpoint.folder)
        journal = await self._open_journal(admission, spare)
        control = self._control(admission, journal, flights)
        engine = prepare(Books(clock, admission, journal, flights, control))
        first = job.models[0].endpoint, job.models[0].name
        view = View(self.counters, flights, admission, clock, first, engine.latencies, engine.batches)
        if self.remote is not None:
            self.remote.tell = partial(self._told, view)
        watch = partial(watch_storage, journal, spare, flights, control.stop)
        try:
            return await engine.run(watch, *self._beside(view, control.stop))
        finally:
            remove_live(self.survey.run)
            self._put_away(journal, spare, Admitted(admission.snapshot()))

    def _control(self, admission: Admission, journal: Journal, flights: Flights) -> Control:
        job = self.survey.job
        return Control(
            admission,
            journal,
            flights,
            self.counters,
            Breaker(job.stop_when.failed, job.stop_when.after),
            chains=self.chains.all(),
            drain=self.drain,
            seal=partial(seal_file, carried=True),
            canary=self.canary,
            time_left=self.time_left,
            seal_rows=self.seal_rows,
            say=self.progress.say,
            keys=key_sources(job),
            interrupts=self.interrupts,
        )

    def _parts(self, endpoints: Opened, books: Books) -> Parts:
        return Parts(
            self.survey.job,
            self.survey.renderer,
            endpoints.clients,
            self.prices,
            books.admission,
            books.journal,
            books.flights,
            self.counters,
            books.clock,
            self.progress.say,
            self.log,
            self.survey.run.run_id,
            endpoints.resources,
        )

    def _by_batches(self, rows: pl.DataFrame, endpoints: Opened, books: Books) -> Prepared:
        assert self.by_batches is not None, "asked for by who gave it"
        parts = self._parts(endpoints, books)
        return self.by_batches.prepare(parts, endpoints.resources, rows, books)

    def _by_this_process(self, rows: pl.DataFrame, endpoints: Opened, books: Books) -> Prepared:
        job, clock = self.survey.job, books.clock
        parts = self._parts(endpoints, books)
        caller = parts.caller()
        engine = LocalEngine(parts.answerer(parts.asker(caller)), books.control)
        wanted = in_chunks(Assigner(self.survey, self.chains).tasks(rows))
        beside: list[Beside] = []
        if tail := job.tail:
            watcher = Tail(
                books.flights,
                caller.latencies,
                self.counters,
                hedge_after=tail.hedge_after,
                clock=clock,
            )
            beside.append(watcher.watch)
        return Prepared(partial(engine.run, wanted, parts.spare_rows, *beside), caller.latencies[0])

    def _on_a_cluster(self, rows: pl.DataFrame) -> AbstractContextManager[Callable[[Books], Prepared]]:
        from batchrun.cluster.driving import over_ray  # Ray takes a second to load

        return over_ray(
            self.survey,
            rows,
            self.chains,
            env=self.env,
            drain=self.drain,
            say=self.progress.say,
            log=self.log,
        )

    def _put_away(self, journal: Journal, spare: Spare, learned: Admitted) -> None:
        """Close and seal the journal. One that has failed is left as it is: the next submit reads it anew.

        Raises StorageError.
        """
        with suppress(StorageError):  # else the calls in the journal say what was sent
            journal.append(learned)
        try:
            journal.check_place()
        finally:
            journal.close()
        spare.remove()
        if journal.failure:
            raise journal.failure
        with suppress(StorageError):
            write_admitted(self.survey.checkpoint.folder, learned.state)
        seal_file(journal.path, carried=False)

    def _beside(self, view: View, stop: Callable[[Stop], None]) -> Iterator[Beside]:
        """What runs along with the calls."""
        run = self.survey.run
        yield lambda: self.progress.watch(view)
        yield partial(tell_others, view, run)
        asked = partial(why_paused, self.remote, run.pause)
        yield partial(obey_pauses, asked, view.admission, view.clock, say=self.progress.say, log=self.log)
        if self.remote is not None:
            yield partial(
                keep_uploading,
                self.remote,
                run.checkpoint,
                stop,
                say=self.progress.say,
                log=self.log,
                interval=self.upload_interval,
            )
        if (budget := view.admission.budget) and budget.caps.per == "day":
            yield partial(each_day, budget, view.clock, view.admission.budget_freed)

    def _told(self, view: View) -> dict[str, Any]:
        """What this submit has done, and may have paid, for whoever goes on with the run elsewhere."""
        counters, budget = self.counters, view.admission.budget
        held = sum(amounts.cost_usd or 0.0 for amounts in (budget.held, budget.reserved)) if budget else 0.0
        return {
            "rows": counters.finished,
            "calls": counters.calls,
            "tokens": counters.prompt_tokens + counters.completion_tokens,
            "cost_usd": (counters.cost_usd or 0.0) + held,
            "live": read_live(self.survey.run),
        }

    async def _open_journal(self, admission: Admission, spare: Spare) -> Journal:
        """A new journal file that carries what was under way; only then may the old ones go."""
        checkpoint = self.survey.checkpoint
        journal = Journal(checkpoint.folder, checkpoint.next_number, self.clock, make_room=spare.give_up)
        spare.keep()
        for task, history in checkpoint.unfinished.items():
            journal.carry(task, history.lines)
        journal.append(Admitted(admission.snapshot()))
        await journal.sync()
        checkpoint.retire_journals()
        return journal


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


def seal_file(closed: Path, *, carried: bool) -> None:
    """Turn a closed journal file into a sealed part.

    The file stays when it holds the only records of an unfinished task: unless they are `carried` by the next
    file, on disk.
    """
    contents = JournalContents(closed)
    seal(contents.finished, closed.parent, int(closed.stem.rpartition("-")[2]))
    if carried or not contents.unfinished:
        closed.unlink()
