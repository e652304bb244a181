"""A run by a provider's batches, as it is put together over its context."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from batchrun.admission import Admission
from batchrun.answer.answerer import Answerer
from batchrun.answer.needs import Estimator
from batchrun.batches.api import BatchApi
from batchrun.batches.context import BatchContext
from batchrun.batches.delivery import AnswerDelivery
from batchrun.batches.drawing import Deferring
from batchrun.batches.finding import find
from batchrun.batches.lane import Lane
from batchrun.batches.quotas import Quotas
from batchrun.batches.rounds import Rounds
from batchrun.batches.sending import Sender, StoppedError
from batchrun.batches.taking import Taking
from batchrun.engines.answering import Parts
from batchrun.engines.chunks import in_chunks
from batchrun.engines.local import LocalEngine
from batchrun.engines.restore import retry_rules
from batchrun.engines.run_context import ReadyEngine, RunContext
from batchrun.engines.tasks import TASK, Assigner, Chains
from batchrun.errors import JobError
from batchrun.job import Job
from batchrun.run_folder.checkpoint.batches import BatchRecord, read_records, read_rows
from batchrun.survey.survey import Survey

_MARGIN = 0.1
"""Of `finish_by`, what calls in realtime have at least."""


@dataclass(frozen=True, slots=True)
class ByBatches:
    """What a run by batches is told beside the run's context.

    `states` are all rows of the job (see `index.match`), `limit` the most that may be given to batches now,
    `canary` how many are asked in realtime first. `given` says of batches by their stems which of the
    provider's they are, or `none`; `waits`, whether to wait for them.
    """

    survey: Survey
    chains: Chains
    states: pl.DataFrame
    limit: int | None
    canary: int | None
    given: Mapping[str, str]
    waits: bool
    ship: Callable[[], object]
    looks: tuple[float, ...]

    def prepare(self, parts: Parts, rows: pl.DataFrame, run_context: RunContext) -> ReadyEngine:
        """The engine for `rows`. Raises JobError, and RunFolderError for damaged records."""
        job = self.survey.job
        caller = parts.caller()
        attempts = parts.attempts(caller)
        context = self._context(parts, run_context)
        records = read_records(context.checkpoint)
        taken = self._tasks(records)
        assigner = Assigner(self.survey, self.chains, first=max(taken, default=0) + 1, taken=taken)
        engine = job.engine
        deferring = Deferring(attempts, max_attempts=job.retry.max_attempts, most=engine.max_bytes)
        answerer = parts.answerer(deferring)
        unfinished = self.survey.checkpoint.unfinished
        delivery = AnswerDelivery(context, answerer, assigner, self.states, unfinished, parts.prices.of_name)
        sender = Sender(context, min([context.clock.wall(), *(one.began for one in records)]), self.looks)
        hurry_at = _hurry_at(
            job, run_context.admission, sender.began, len(rows) + sum(one.lines for one in records)
        )
        rounds = Rounds(
            context,
            Lane(
                context,
                sender,
                Taking(context, delivery),
                Quotas(engine.enqueued_tokens),
                self.waits,
                hurry_at,
            ),
            sender,
            answerer,
            Estimator(job.models, parts.prices, run_context.admission.budget, in_batches=True),
            assigner,
            self.states,
            partial(_in_realtime, parts, run_context, assigner, parts.answerer(attempts)),
            self.canary,
        )
        work = partial(self._work, rounds, delivery, rows, records)
        return ReadyEngine(work, caller.latencies[0], batches=context.under_way)

    async def _work(
        self, rounds: Rounds, delivery: AnswerDelivery, rows: pl.DataFrame, records: Sequence[BatchRecord]
    ) -> None:
        """All of it: what earlier submits have left with providers first."""
        context = rounds.context
        try:
            await find(context, rounds.sender, records, self.given)
        except StoppedError:
            return
        kept = [
            read_rows(context.checkpoint, record, ["key", "hash", TASK]) for record in context.outstanding
        ]
        waiting = pl.concat(kept) if kept else None
        if waiting is not None:
            answers = self.survey.checkpoint.answers()
            delivery.know(answers.join(waiting, on=TASK, how="semi")[TASK])
            same = ["hash"] if self.survey.job.dedupe else ["key", "hash"]
            rows = rows.join(waiting, on=same, how="anti")
        rows = rows if self.limit is None else rows.head(self.limit)
        context.counters.to_do = len(rows) + (0 if waiting is None else len(waiting))
        await rounds.work(rows)

    def _tasks(self, records: Sequence[BatchRecord]) -> frozenset[int]:
        """Those that are with a provider: the highest of them, and those that have records here."""
        found: set[int] = set()
        for record in records:
            tasks = read_rows(self.survey.run.checkpoint_path, record, [TASK])[TASK]
            known = tasks.filter(tasks.is_in(list(self.survey.checkpoint.unfinished)))
            found.update(known.to_list(), tasks.sort().tail(1).to_list())
        return frozenset(found)

    def _context(self, parts: Parts, run_context: RunContext) -> BatchContext:
        job, resources = self.survey.job, parts.resources
        for name in job.used_endpoints.keys() - resources.keys():
            raise JobError(
                f"{job.where('endpoints', name, 'base_url')}: names several servers, and a batch is one's",
                hint="Give one base_url, or set engine.kind: local.",
            )
        retry = retry_rules(job)
        return BatchContext(
            job=job,
            run_id=self.survey.run.run_id,
            checkpoint=self.survey.run.checkpoint_path,
            apis={
                name: BatchApi(one, retry, run_context.clock, random.random, job.endpoints[name].uploads)
                for name, one in resources.items()
            },
            budget=run_context.admission.budget,
            journal=run_context.journal,
            control=run_context.control,
            in_flight_calls=run_context.in_flight_calls,
            counters=parts.counters,
            clock=run_context.clock,
            say=parts.say,
            log=parts.log,
            ship=self.ship,
        )


async def _in_realtime(
    parts: Parts, run_context: RunContext, assigner: Assigner, answerer: Answerer, rows: pl.DataFrame
) -> None:
    """Take rows to their outcomes by calls of their own."""
    engine = LocalEngine(answerer, run_context.control, parts.spare_rows)
    await engine.work(in_chunks(assigner.tasks(rows)))


def _hurry_at(job: Job, admission: Admission, began: float, rows: int) -> float | None:
    """When rows are to go on in realtime, to be done by `finish_by`; in seconds since the epoch."""
    if job.finish_by is None:
        return None
    first = job.models[0]
    a_minute = admission.route(first.endpoint, first.name).per_minute("requests")
    needed = rows / a_minute * 60 if a_minute else 0.0
    return began + job.finish_by - min(job.finish_by, max(_MARGIN * job.finish_by, needed))
