"""How fast a job's rows go, by its limits and by what the last submit reached."""

from __future__ import annotations

from typing import Any

from batchrun.forecast.estimate import Pace, Range, exactly
from batchrun.job import Job, ModelChoice

_AUTO = (20, 64)
"""Calls under way at once that `auto` begins with, and those that most servers take at least."""
_TOLD = 100
"""Rows of a submit from which on its speed says more than a beginning does."""


def pace_of(job: Job, last: dict[str, Any], seconds: Range) -> Pace:
    """The limits of the first model. `last` is the last submit as `run.json` has it; `seconds` those
    that one row is under way."""
    model = job.models[0]
    at_once = _at_once(job, model)
    reached = False
    rows, took = last.get("rows") or 0, last.get("seconds") or 0
    if rows >= _TOLD and took:
        calls = max(1.0, rows / took * seconds.likely)  # Little's law
        most = at_once.high or calls
        at_once = Range(min(calls * 0.7, most), min(calls, most), min(calls * 1.5, most))
        reached = True
    return Pace(tighter(job, model, "rpm"), tighter(job, model, "tpm"), at_once, reached)


def tighter(job: Job, model: ModelChoice, name: str) -> int | None:
    """The smaller one of a model's and its endpoint's limits."""
    limits = (getattr(model.limits, name), getattr(job.endpoints[model.endpoint].limits, name))
    return min((limit for limit in limits if limit is not None), default=None)


def is_auto(job: Job, model: ModelChoice) -> bool:
    """Whether it is found out while the run goes how many calls a model takes at once."""
    return not isinstance(model.limits.concurrency, int) and not isinstance(
        job.endpoints[model.endpoint].limits.concurrency, int
    )


def tokens_counted(job: Job, prompts: Range, outputs: Range, calls: Range, limit: float | None) -> Range:
    """The tokens that the server sees of these calls, each of at most `limit` tokens of answer.

    Unless the job says that it counts what was used, it may count what was asked for.
    """
    used = prompts.plus(outputs)
    model = job.models[0]
    count = model.limits.count or job.endpoints[model.endpoint].limits.count
    if count == "used" or limit is None:
        return used
    asked = prompts.plus(calls.times(limit))
    if count == "asked":
        return asked
    high = None if used.high is None or asked.high is None else max(used.high, asked.high)
    return Range(used.low, used.likely, high)


def _at_once(job: Job, model: ModelChoice) -> Range:
    most = tighter(job, model, "most_in_flight") or 1
    if not is_auto(job, model):
        return exactly(most)
    return Range(min(_AUTO[0], most), min(_AUTO[1], most), most)
