"""Whether a job's caps can be kept: every request must have an upper bound, and cost a known price."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from batchrun.job import ANY_MODEL, Job
from batchrun.prices import ModelPrices
from batchrun.render.evaluate import RenderError
from batchrun.render.request import RowRequest
from batchrun.spending.bounds import is_spoken, no_upper_bound


def unpriced(spelled: str) -> str:
    """What to do where the price of a model is not known."""
    return f"no price known for {spelled}: give it in prices: {{{spelled}: {{input: …, output: …}}}}"


def uncounted(job: Job, prices: ModelPrices) -> Iterator[str]:
    """A sentence for each model whose calls a soft cap on cost lets pass uncounted: no price is known."""
    if job.budget.cost_usd is None or not job.budget.soft:
        return
    for model in job.models:
        if model.name != ANY_MODEL and prices.of(model) is None:
            yield (
                f"budget.cost_usd: {unpriced(model.qualified_name)}. Until then its calls count for nothing "
                "against the cap, unless the endpoint says what they cost"
            )


def needs_bounds(job: Job) -> bool:
    """Whether requests must have an upper bound: cost or tokens are capped, and the budget is not soft."""
    budget = job.budget
    return not budget.soft and (budget.cost_usd is not None or budget.tokens is not None)


class BoundCheck:
    """Says of requests why the job's caps cannot be kept; `now` in seconds since the epoch."""

    def __init__(self, job: Job, now: float) -> None:
        self._job = job
        self._prices = ModelPrices(job, now)
        self._costs = job.budget.cost_usd is not None
        reasks = job.answer_schema is not None and job.retry.reask > 0
        self._repeats = bool(job.prompt.turns or job.run_tools or reasks)
        """Whether a row may make further calls, which repeat its answers."""

    def is_unbounded(self, request: RowRequest) -> bool:
        """Whether there is a reason."""
        return next(self.reasons(request), None) is not None

    def reasons(self, request: RowRequest) -> Iterator[str]:
        """A sentence each, for the request as it goes to every model of the job."""
        cap = "budget.cost_usd" if self._costs else "budget.tokens"
        for at, model in enumerate(self._job.models):
            try:
                document = request.document(at)
            except RenderError:  # the row fails with this model before a call
                continue
            name = document["model"]
            price = self._prices.of(model, name) if self._costs else None
            if self._costs and price is None:
                yield f"{cap}: {unpriced(f'{model.endpoint}/{name}')}, or let it pass with budget.soft: true."
            # a turn's own parts are sent later, and cannot be rendered before there are answers
            document["messages"] = [*document["messages"], *request.renderer.prompt.spelled_turns]
            why = no_upper_bound(document, price)
            if why is None and self._repeats and is_spoken(document):
                why = "later calls of a row repeat its spoken answers, whose tokens are not known before"
            if why:
                yield (
                    f"{cap}: what a request to {model.qualified_name} takes has no upper bound: {why}. "
                    "Set budget.soft: true to let it pass."
                )


@dataclass(frozen=True, slots=True)
class Boundless:
    """Which of the rows to ask have requests without an upper bound.

    Attributes:
        rows: how many are to be asked.
        number: how many of them have none.
        first: the first of these, with their places in the input.
    """

    rows: int
    number: int
    first: tuple[tuple[str, RowRequest], ...] = ()


def unbounded(job: Job, found: Boundless, *, now: float) -> list[str]:
    """Why the job's caps on cost and tokens cannot be kept, a sentence each; empty where they can."""
    check = BoundCheck(job, now)
    places: dict[str, str] = {}
    for place, request in found.first:
        for reason in check.reasons(request):
            places.setdefault(reason, place)
    if found.number == found.rows:
        return list(places)
    return [f"{reason} {_where(found, place, at)}" for at, (reason, place) in enumerate(places.items())]


def _where(found: Boundless, place: str, at: int) -> str:
    """Which rows it is about, where it is not about all; how many only once, for all reasons together."""
    if at:
        return f"The first such row: {place}."
    if found.number == 1:
        return f"1 of {found.rows:,} rows is such: {place}."
    return f"{found.number:,} of {found.rows:,} rows are such, the first {place}."
