"""What a killed submit sent and was told, given back to the gates of the next one."""

from __future__ import annotations

import random

from batchrun.admission import Admission
from batchrun.budget import Budget
from batchrun.clock import Clock
from batchrun.job import Job
from batchrun.outcome import Response
from batchrun.policy.decision import RetryRules
from batchrun.policy.error_response import classify
from batchrun.policy.retry_after import retry_after
from batchrun.run_folder.checkpoint.checkpoint import Checkpoint


def gates(job: Job, checkpoint: Checkpoint, clock: Clock, budget: Budget | None = None) -> Admission:
    """The gates of a job's endpoints and models, as an earlier submit left them.

    Their windows are charged with what the last minute sent, and every Retry-After that has not
    passed is honoured; one above `retry.max_wait` closes its endpoint for what is left of it.
    """
    endpoints = {model.endpoint: job.endpoints[model.endpoint].limits for model in job.models}
    models = {(model.endpoint, model.name): model.limits for model in job.models}
    admission = Admission(
        endpoints,
        models,
        clock=clock,
        jitter=random.random,
        budget=budget,
        retry=retry_rules(job),
    )
    if checkpoint.admitted:
        admission.restore(checkpoint.admitted)
    for sent in checkpoint.sent:
        if sent.batch:  # not of these windows
            continue
        admission.charge_past_call(sent.endpoint, sent.model.partition("/")[2], sent.at, sent.tokens)
    for sent, answered in checkpoint.back_offs:
        if sent.endpoint in endpoints and isinstance(answered.exchange, Response):
            _honour(admission, sent.endpoint, answered.exchange, answered.at, clock, job.retry.max_wait)
    return admission


def retry_rules(job: Job) -> RetryRules:
    """The job's `retry`, as the policy takes it."""
    retry = job.retry
    return RetryRules(retry.max_attempts, retry.max_wait, retry.backoff.initial, retry.backoff.max)


def _honour(
    admission: Admission, endpoint: str, response: Response, at: float, clock: Clock, max_wait: float
) -> None:
    error = classify(response)
    told = retry_after(response.headers, at, error)
    left = at + told - clock.wall() if told is not None else 0.0
    if told is not None and told > max_wait and left > 0:
        admission.close(endpoint, error, seconds=left)
    elif left > 0:
        admission.pause(endpoint, clock.monotonic() + left)
