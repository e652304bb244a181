"""How batches stand now, by a look that changes nothing and takes some seconds at most."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from batchrun.batches.api import ApiError, BatchApi
from batchrun.clock import SystemClock
from batchrun.endpoints.checks import check_keys
from batchrun.endpoints.endpoints import open_endpoints
from batchrun.errors import BatchrunError
from batchrun.job import Job
from batchrun.policy.decision import RetryRules
from batchrun.run_folder.checkpoint.with_providers import Batch

PATIENCE = 5.0
"""Seconds that providers have together."""

BRISK = RetryRules(max_attempts=3, max_wait=1.0, backoff_initial=0.2, backoff_max=1.0)
"""For what somebody waits for."""

NO_SIMULATOR = "the simulator that batchrun starts ends with its submit, and its batches with it"


def look_now(
    batches: Sequence[Batch], job: Job, env: Mapping[str, str], *, patience: float = PATIENCE
) -> tuple[Batch, ...]:
    """What their providers say of `batches` now; those that cannot be asked as they were, with a note."""
    return anyio.run(_look, batches, job, env, patience)


async def _look(
    batches: Sequence[Batch], job: Job, env: Mapping[str, str], patience: float
) -> tuple[Batch, ...]:
    found = {batch.name: replace(batch, note=f"no answer within {patience:g} s") for batch in batches}
    with anyio.move_on_after(patience):
        async with anyio.create_task_group() as group:
            for endpoint in dict.fromkeys(batch.endpoint for batch in batches):
                those = [batch for batch in batches if batch.endpoint == endpoint]
                group.start_soon(_look_at, endpoint, those, job, env, found)
    return tuple(found.values())


async def _look_at(
    endpoint: str, batches: Sequence[Batch], job: Job, env: Mapping[str, str], found: dict[str, Batch]
) -> None:
    """Ask one endpoint for all of its batches."""
    if why := unreachable(job, endpoint):
        found.update((batch.name, replace(batch, note=why)) for batch in batches)
        return
    try:
        async with brisk_api(job, endpoint, env) as api:
            for batch in batches:
                found[batch.name] = await _told(api, batch)
    except BatchrunError as error:
        found.update((batch.name, replace(batch, note=error.message)) for batch in batches)


async def _told(api: BatchApi, batch: Batch) -> Batch:
    if batch.batch_id is None:
        return batch
    try:
        told = await api.get(batch.batch_id)
    except ApiError as error:
        return replace(batch, note=error.error.message)
    return batch.told(told.status, told.done, told.failed)


def unreachable(job: Job, endpoint: str) -> str | None:
    """Why an endpoint cannot be asked for batches at all; None where it can be tried."""
    if all(model.endpoint != endpoint for model in job.models):
        return f"no model of the job is at {endpoint} now"
    servers = len(job.endpoints[endpoint].base_urls)
    if not servers:
        return NO_SIMULATOR
    return None if servers == 1 else f"{endpoint} names several servers now, and a batch is one's"


@asynccontextmanager
async def brisk_api(job: Job, endpoint: str, env: Mapping[str, str]) -> AsyncIterator[BatchApi]:
    """The batches of one endpoint of a job, asked for somebody who waits; no other endpoint is opened.

    Raises UsageError for keys that are missing.
    """
    alone = replace(job, models=tuple(model for model in job.models if model.endpoint == endpoint))
    check_keys(alone, env)
    async with open_endpoints(alone, env, with_resources=True) as opened:
        yield BatchApi(opened.resources[endpoint], BRISK, SystemClock(), random.random)
