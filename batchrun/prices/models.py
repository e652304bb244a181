"""What the models of a job cost: each is looked up once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from batchrun.budget import Amounts
from batchrun.prices.price import Price
from batchrun.prices.table import find_price

if TYPE_CHECKING:
    from batchrun.job import Job, ModelChoice

PriceOf: TypeAlias = Callable[[str, str], Price | None]
"""The price of a model by the job's spelling, and by the name that a row gave it, if any."""


class ModelPrices:
    """What the models of a job cost at `now`, in seconds since the epoch; each is looked up once."""

    def __init__(self, job: Job, now: float) -> None:
        self._job = job
        self._now = now
        self._known: dict[tuple[str, str], Price | None] = {}

    def of(self, model: ModelChoice, name: str | None = None) -> Price | None:
        """The price of a model, None where none is known; `name` where each row names its model."""
        return self._of(model.endpoint, name or model.name, model.qualified_name)

    def _of(self, endpoint: str, name: str, qualified_name: str) -> Price | None:
        key = (endpoint, name)
        if key not in self._known:
            given = self._job.prices
            self._known[key] = find_price(
                name,
                base_urls=self._job.endpoints[endpoint].base_urls,
                given=given.get("/".join(key)) or given.get(qualified_name),
                now=self._now,
            )
        return self._known[key]

    def of_name(self, model: str, named: str = "") -> Price | None:
        """The price of a model by its ENDPOINT/MODEL, and by the name that a row gave it, if any.

        Also for a model that the job has no more, at an endpoint that it still has.
        """
        endpoint, _, name = model.partition("/")
        return self._of(endpoint, named or name, model) if endpoint in self._job.endpoints else None

    def known_of(self, spent: Amounts) -> Amounts:
        """`spent` with a cost of None in place of 0, where calls were made and no model has a known price."""
        if spent.cost_usd or not spent.requests or any(map(self.of, self._job.models)):
            return spent
        return replace(spent, cost_usd=None)
