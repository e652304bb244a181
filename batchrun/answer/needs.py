"""What a call takes: of the rates what is likely, of the budget at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchrun.budget import Amounts, Budget
from batchrun.errors import BudgetExhaustedError
from batchrun.job import ANY_MODEL, ModelChoice
from batchrun.limits import Size
from batchrun.limits.estimates import TokenEstimates
from batchrun.outcome import Usage
from batchrun.prices import ModelPrices, Price
from batchrun.render.request import RowRequest
from batchrun.spending.bounds import Bounds, no_upper_bound
from batchrun.value import value


@value(frozen=True, slots=True)
class Needs:
    """What one call takes."""

    named: str
    """What the endpoint calls the model that is asked."""
    prompt: int
    """Tokens of the prompt, at so many bytes a token."""
    choices: int
    """Answers that it asks for."""
    size: Size
    price: Price | None
    bound: Amounts
    """The most that it can take of the budget."""


class Estimator:
    """Says what calls take, and learns from those that have ended. `in_batches`: they go by batches."""

    def __init__(
        self,
        models: Sequence[ModelChoice],
        prices: ModelPrices,
        budget: Budget | None,
        *,
        in_batches: bool = False,
    ) -> None:
        self._models = models
        self._prices = prices
        self._budget = budget
        self._in_batches = in_batches
        self._estimates = [TokenEstimates() for _ in models]
        self._known: dict[int, tuple[str, Mapping[str, Any], Bounds]] = {}
        """By model: what the last plain request named and asked for, and what bounded it."""

    def needs(
        self, request: RowRequest, model_index: int, body: bytes, *, is_prompt: bool, row_id: str
    ) -> Needs:
        """What sending `body` to a model takes.

        Raises BudgetExhaustedError where a cap cannot be kept, because that has no upper bound.
        """
        parameters = request.parameters(model_index)
        model = self._models[model_index]
        named = request.named_model if model.name == ANY_MODEL else model.name
        price = self._prices.of(model, named)
        if price and self._in_batches:
            price = price.in_batch
        prompt = request.estimated_tokens(body, model_index, is_prompt=is_prompt)
        wanted = parameters.get("n")
        choices = wanted if isinstance(wanted, int) else 1
        size = self._estimates[model_index].size(prompt, _limit(parameters), choices)
        bound = self._bounds(request, model_index, parameters, named, price).most(len(body))
        if self._budget and (what := self._budget.unbounded(bound)):
            document = _document(request, parameters, named)
            reason = no_upper_bound(document, price) or f"no price is known for {model.qualified_name}"
            raise BudgetExhaustedError(
                f"budget.{what}: the request of row {row_id} has no upper bound: {reason}",
                hint="Set budget.soft: true to let such requests pass.",
            )
        return Needs(named, prompt, choices, size, price, bound)

    def _bounds(
        self,
        request: RowRequest,
        model_index: int,
        parameters: Mapping[str, Any],
        named: str,
        price: Price | None,
    ) -> Bounds:
        """What bounds a call: of plain texts the parameters alone say it, which most rows share."""
        is_plain, known = _is_plain(request.messages), self._known.get(model_index)
        if is_plain and known and known[0] == named and known[1] == parameters:
            return known[2]
        found = Bounds.of(_document(request, parameters, named), price)
        if is_plain:
            self._known[model_index] = named, parameters, found
        return found

    def learn(self, model_index: int, needs: Needs, usage: Usage) -> None:
        """An answer: what it took in fact."""
        self._estimates[model_index].learn(needs.prompt, usage, needs.choices)


def _document(request: RowRequest, parameters: Mapping[str, Any], named: str) -> dict[str, Any]:
    """The request as far as its cost depends on it."""
    extra = parameters.get("extra_body", {})
    return {**parameters, **extra, "messages": request.messages, "model": named}


def _is_plain(messages: Sequence[Mapping[str, Any]]) -> bool:
    for message in messages:  # noqa: SIM110 - it is asked for every row, and `all` takes thrice as long
        if not isinstance(message.get("content"), str):
            return False
    return True


def _limit(parameters: Mapping[str, Any]) -> int | None:
    """The most tokens that one answer may have."""
    limit = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
    return limit if isinstance(limit, int) else None
