"""A run whose calls this process makes, as it is put together over its context."""

from __future__ import annotations

from functools import partial

import polars as pl

from batchrun.answer.tail import Tail
from batchrun.engines.answering import Parts
from batchrun.engines.chunks import in_chunks
from batchrun.engines.control import Beside
from batchrun.engines.local import LocalEngine
from batchrun.engines.run_context import ReadyEngine, RunContext
from batchrun.engines.tasks import Assigner, Chains
from batchrun.survey.survey import Survey


def in_this_process(
    survey: Survey, chains: Chains, rows: pl.DataFrame, parts: Parts, run_context: RunContext
) -> ReadyEngine:
    """The engine for `rows` (see `index.match`)."""
    caller = parts.caller()
    engine = LocalEngine(parts.answerer(parts.attempts(caller)), run_context.control, parts.spare_rows)
    beside: tuple[Beside, ...] = ()
    if hedging := survey.job.tail:
        after, clock = hedging.hedge_after, run_context.clock
        tail = Tail(
            run_context.in_flight_calls, caller.latencies, parts.counters, hedge_after=after, clock=clock
        )
        beside = (tail.watch,)
    work = partial(engine.work, in_chunks(Assigner(survey, chains).tasks(rows)))
    return ReadyEngine(work, caller.latencies[0], beside)
