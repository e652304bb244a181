"""A run on a Ray cluster, as the driver starts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import polars as pl

from batchrun import __version__
from batchrun.answer.tail import Latencies
from batchrun.cluster.crew import Crew
from batchrun.cluster.messages import Setup
from batchrun.cluster.permits import Permits
from batchrun.cluster.ray_links import ray_links
from batchrun.cluster.shards import Shards
from batchrun.engines.run_context import ReadyEngine, RunContext
from batchrun.engines.tasks import Assigner, Chains
from batchrun.job.document.interpolate import variables_in
from batchrun.run_folder.log import Log
from batchrun.source import marks
from batchrun.survey.survey import Survey


@contextmanager
def over_ray(
    survey: Survey,
    rows: pl.DataFrame,
    chains: Chains,
    *,
    env: Mapping[str, str],
    drain: float,
    say: Callable[[str], None],
    log: Log,
) -> Iterator[Callable[[RunContext], ReadyEngine]]:
    """What makes an engine of a cluster's workers, while the block lasts. Raises UsageError.

    `rows` must have the hashes of their requests (see `index.match`).
    """
    job = survey.job
    engine = job.engine

    def prepare(run_context: RunContext) -> ReadyEngine:
        latencies = Latencies()
        given = Assigner(survey, chains).assignments(rows)
        shards = Shards(rows, given, marks(survey.source.files), workers=engine.workers)
        permits = Permits(
            run_context.control,
            run_context.admission,
            run_context.journal,
            [(model.endpoint, model.name) for model in job.models],
            clock=run_context.clock,
            latencies=latencies,
        )
        crew = Crew(
            run_context.control,
            run_context.admission,
            run_context.journal,
            shards,
            permits,
            workers=engine.workers,
            hire=hire,
            clock=run_context.clock,
            say=say,
            log=log,
        )
        return ReadyEngine(crew.work, latencies)

    setup = setup_of(survey, chains, env, drain)
    with ray_links(setup, address=engine.address, workers=engine.workers, cpus=engine.cpus, say=say) as hire:
        yield prepare


def setup_of(survey: Survey, chains: Chains, env: Mapping[str, str], drain: float) -> Setup:
    """What workers are told of the run. What endpoints take from variables is not: that may be a key."""
    document = {key: value for key, value in survey.job.document.items() if key != "endpoints"}
    retry = survey.job.models[chains.retry[0]].qualified_name if chains.retry_types else None
    variables = variables_in(document, env)
    return Setup(__version__, survey.renderer.snapshot(), variables, retry, drain, survey.run.run_id)
