"""What a submit meets before its first call: closed models, a canary that has failed, a budget used up.

Each may keep it from sending anything, although it can be continued.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from batchrun.answer.needs import Estimator
from batchrun.budget import Amounts
from batchrun.engines.closings import describe
from batchrun.forecast import canary, first_request
from batchrun.job import Job
from batchrun.planning.job_state import JobState
from batchrun.planning.left import holds, over_budget
from batchrun.prices import ModelPrices
from batchrun.render.evaluate import RenderError
from batchrun.survey.survey import Survey

if TYPE_CHECKING:
    from batchrun.admission import Admission, Unavailable


@dataclass(frozen=True, slots=True)
class Outset:
    """What a submit meets before its first call.

    Attributes:
        stops: why nothing would be sent, a sentence each.
        warnings: what is closed while rows go elsewhere.
        opens: when a model is open again, in seconds since the epoch; None while one is open.
        over_budget: which parts of the budget the forecast exceeds, or the first call, a sentence each.
        sends: whether nothing of that kind keeps it from sending.
    """

    stops: tuple[str, ...]
    warnings: tuple[str, ...]
    opens: float | None
    over_budget: tuple[str, ...]
    sends: bool


def outset(state: JobState, admission: Admission, *, retrying: bool, now: float) -> Outset:
    """What `admission`, as an earlier submit left it (`restore.gates`), and the job's canary say.

    `retrying`: failed rows are asked again; `now` in seconds since the epoch.
    """
    survey, job = state.survey, state.survey.job
    first = canary(job, lambda: state.states, retrying=retrying)
    at, closed = _open_model(job, admission)
    reasons = "; ".join(dict.fromkeys(map(describe, closed)))
    stops, warnings, opens = [], [], None
    if at is None:
        stops.append(f"no model is left to ask: {reasons}. A submit sends nothing and can be continued.")
        opens = min((each.until for each in closed if each.until is not None), default=None)
    elif closed:
        warnings.append(f"{reasons}. Until then rows go to {job.models[at].qualified_name}.")
    if first.failed is not None:
        stops.append(first.failed)
    in_batches = job.engine.by_batch and first.rows is None
    next_call = _first_bound(survey, state.to_do, at or 0, now=now, in_batches=in_batches)
    stops = stops if state.forecast.rows else []
    return Outset(
        tuple(stops),
        tuple(warnings),
        opens,
        tuple(over_budget(job, state.forecast, state.spent, next_call, now=now)),
        sends=not stops and holds(job, state.spent, next_call),
    )


def _open_model(job: Job, admission: Admission) -> tuple[int | None, list[Unavailable]]:
    """The model that a new row goes to, by its position, None where none is open to it; the closed ones
    before it."""
    closed: list[Unavailable] = []
    for at, model in enumerate(job.models):
        why = _closed(admission, model.endpoint, model.name)
        if why is None:
            return at, closed
        closed.append(why)
        if why.reason.type not in job.fallback_on:
            break
    return None, closed


def _closed(admission: Admission, endpoint: str, model: str) -> Unavailable | None:
    survey = (why for why in admission.reasons() if why.endpoint == endpoint and why.model in (None, model))
    return next(survey, None)


def _first_bound(
    survey: Survey, rows: pl.DataFrame, model: int, *, now: float, in_batches: bool
) -> Amounts | None:
    """The most that the first call for `rows` (lines of `index.match`) takes, as admission reckons it.

    `model` is the one that is asked, by its position; `in_batches`: by a batch. None where no row comes so
    far.
    """
    first = first_request(survey, rows)
    if first is None:
        return None
    row, request = first
    estimator = Estimator(survey.job.models, ModelPrices(survey.job, now), None, in_batches=in_batches)
    try:
        body = request.body(model, last=not request.renderer.prompt.has_turns)
        return estimator.needs(request, model, body, is_prompt=True, row_id=row.location).bound
    except RenderError:
        return None
