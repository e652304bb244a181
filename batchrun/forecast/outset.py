"""What a submit meets before its first call: models that are closed, a canary that has failed, a bound.

Each may keep it from sending anything, although it can be continued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from batchrun.answer.needs import Estimator
from batchrun.budget import Amounts
from batchrun.engines.closings import describe
from batchrun.forecast.looking import first_request
from batchrun.index import State
from batchrun.index.sharing import HOLDER
from batchrun.job import Job
from batchrun.policy.breaker import Breaker
from batchrun.prices import ModelPrices
from batchrun.render.evaluate import RenderError
from batchrun.survey.survey import Survey

if TYPE_CHECKING:
    from batchrun.admission import Admission, Closed


@dataclass(frozen=True, slots=True)
class Doors:
    """Which models of a job take calls now, by what the checkpoint remembers.

    Attributes:
        first: the model that a new row goes to, by its position; None where no model is open to it.
        closed: those before it, and why.
    """

    first: int | None
    closed: tuple[Closed, ...]

    @property
    def opens(self) -> float | None:
        """When the first of them opens again, in seconds since the epoch; None while one is open."""
        if self.first is not None:
            return None
        return min((closed.until for closed in self.closed if closed.until is not None), default=None)

    def stops(self) -> Iterator[str]:
        """Why nothing would be sent."""
        if self.first is None:
            reasons = "; ".join(dict.fromkeys(map(describe, self.closed)))
            yield f"no model is left to ask: {reasons}. A submit sends nothing and can be continued."

    def warnings(self, job: Job) -> Iterator[str]:
        """What is closed while rows go elsewhere."""
        if self.first is not None and self.closed:
            reasons = "; ".join(dict.fromkeys(map(describe, self.closed)))
            yield f"{reasons}. Until then rows go to {job.models[self.first].spelled}."


def doors(job: Job, admission: Admission) -> Doors:
    """What is closed to a row, as an earlier submit left it (`restore.gates`); in the order of its models."""
    closed: list[Closed] = []
    for at, model in enumerate(job.models):
        why = _closed(admission, model.endpoint, model.name)
        if why is None:
            return Doors(at, tuple(closed))
        closed.append(why)
        if why.reason.type not in job.fallback_on:
            break
    return Doors(None, tuple(closed))


def _closed(admission: Admission, endpoint: str, model: str) -> Closed | None:
    found = (why for why in admission.reasons() if why.endpoint == endpoint and why.model in (None, model))
    return next(found, None)


def first_bound(
    found: Survey, rows: pl.DataFrame, model: int, *, now: float, in_batches: bool = False
) -> Amounts | None:
    """The most that the first call for `rows` (lines of `index.match`) takes, as admission reckons it.

    `model` is the one that is asked, by its position; `in_batches`: by a batch. None where no row comes so
    far.
    """
    first = first_request(found, rows)
    if first is None:
        return None
    row, request = first
    estimator = Estimator(found.job.models, ModelPrices(found.job, now), None, in_batches=in_batches)
    try:
        body = request.body(model, last=not request.renderer.prompt.has_turns)
        return estimator.needs(request, model, body, is_prompt=True, row_id=row.location).bound
    except RenderError:
        return None


@dataclass(frozen=True, slots=True)
class Canary:
    """How a submit begins that has a canary.

    Attributes:
        rows: how many go first; None without `canary`, and where as many have been judged already.
        failed: why nothing more is sent: too many of them have failed since the job was edited last. Rows
            that a submit asks again by itself do not count.
    """

    rows: int | None = None
    failed: str | None = None


def canary(job: Job, states: Callable[[], pl.DataFrame], *, retrying: bool = False) -> Canary:
    """What `states` (see `index.match`) say of the job's canary; `retrying`: failed rows are asked again."""
    if not job.canary:
        return Canary()
    ok, reasons = _finished(states())
    failed = sum(reasons.values())
    if ok >= job.canary:
        return Canary()
    if retrying or ok + failed < job.canary:
        return Canary(job.canary)
    breaker = Breaker(job.stop_when.failed, job.stop_when.after)
    return Canary(failed=breaker.fails_canary(failed, ok + failed, reasons))


def _finished(states: pl.DataFrame) -> tuple[int, dict[str, int]]:
    """Rows that are ok for the job as it stands, and by their reasons those that failed for good."""
    own = states.filter(pl.col(HOLDER).is_null()) if HOLDER in states.columns else states
    ok = own.filter(pl.col("state") == State.OK).height
    failed = own.filter(pl.col("state") == State.FAILED)
    return ok, dict(failed["error_type"].cast(pl.String).value_counts().iter_rows())
