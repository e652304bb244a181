"""Whether a job's caps can be kept: every request must have an upper bound, and cost a known price."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from batchrun.job import Job
from batchrun.prices import no_upper_bound
from batchrun.pricing import ModelPrices
from batchrun.render.evaluate import RenderError
from batchrun.render.request import Request


def unpriced(spelled: str) -> str:
    """What to do where the price of a model is not known."""
    return f"no price known for {spelled}: give it in prices: {{{spelled}: {{input: …, output: …}}}}"


def unbounded(job: Job, requests: Iterable[Request], *, now: float) -> list[str]:
    """Why the job's caps on cost and tokens cannot be kept, a sentence each; empty where they can.

    `requests` are some of those that would be sent; each is looked at as it goes to every model of the
    job. With `budget.soft` all of them may go.
    """
    budget = job.budget
    if budget.soft or (budget.cost_usd is None and budget.tokens is None):
        return []
    prices = ModelPrices(job, now)
    return list(dict.fromkeys(reason for request in requests for reason in _reasons(job, request, prices)))


def _reasons(job: Job, request: Request, prices: ModelPrices) -> Iterator[str]:
    costs = job.budget.cost_usd is not None
    cap = "budget.cost_usd" if costs else "budget.tokens"
    for at, model in enumerate(job.models):
        try:
            document = request.document(at)
        except RenderError:  # the row fails with this model before a call
            continue
        name = document["model"]
        price = prices.of(model, name) if costs else None
        if costs and price is None:
            yield f"{cap}: {unpriced(f'{model.endpoint}/{name}')}, or let it pass with budget.soft: true."
        # a turn's own parts are sent later, and cannot be rendered before there are answers
        document["messages"] = [*document["messages"], *request.renderer.prompt.spelled_turns]
        if why := no_upper_bound(document, price):
            yield (
                f"{cap}: what a request to {model.spelled} takes has no upper bound: {why}. "
                "budget.soft: true lets it pass."
            )
