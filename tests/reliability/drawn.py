"""What is drawn for a run under a budget: one trial of `tests.reliability.money`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from batchrun.job.sections.spending import PriceSpec
from batchrun.prices.table import find_price
from batchrun.spending.bounds import prompt_bound

Kind: TypeAlias = Literal["cost_usd", "tokens", "requests"]

PLACES = 10
"""Where a cap may lie: at 0 it holds one call, at the last one more than the run takes."""

PRICES = {"local/small": {"input": 3.0, "output": 15.0}, "spare/large": {"input": 10.0, "output": 70.0}}
"""USD per million tokens, for the job and for the simulators."""

FAULTS: tuple[dict[str, Any], ...] = (
    {"rate": 0.05, "status": 429, "retry_after": 0.2},
    {"rate": 0.05, "status": 429},
    {"rate": 0.06, "status": 500},
    {"rate": 0.04, "status": 503},
    {"rate": 0.03, "status": 504},
    {"rate": 0.05, "reset": "mid_body"},
    {"rate": 0.04, "reset": "before_headers"},
    {"rate": 0.03, "stall": 0.9},
    {"rate": 0.04, "status": 200, "raw_body": '{"choices":[{"message":{"content":"yes"}}]}'},
    {"rate": 0.04, "error_in_200": 502},
    {"rate": 0.05, "answer": "malformed"},
    {"rate": 0.03, "answer": "null_choices"},
    {"rate": 0.1, "first": 1, "per": "conversation", "output": "invalid"},
)
"""Each trial has some of them. The stall is longer than the idle timeout."""

CONCURRENCY: tuple[int | str, ...] = (1, 3, 8, 32, 64, "auto", "auto")
_SHORTEST, _LONGEST = 150, 5_000
"""Bytes that every request of a trial has, and more than any has, with all that it asks again."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is drawn from a seed."""

    seed: int
    kind: Kind
    place: int
    rows: int
    choices: int
    limit: int
    concurrency: int | str
    stream: bool
    schema: bool
    falls_back: bool
    hedges: bool
    dedupe: bool
    tokens_per_byte: float | None
    reports: bool
    faults: tuple[dict[str, Any], ...]
    kills: tuple[float, ...]
    """Powers of the rows: after so many calls a submit is killed, mostly after few."""

    @property
    def most(self) -> int | float:
        """More than one call can take."""
        return self._bound(_LONGEST, ["local/small", "spare/large"][: 1 + self.falls_back])

    @property
    def cap(self) -> int | float:
        """From what is reserved for the shortest request to more than most runs take."""
        if self.kind == "requests":
            return 1 + round(1.6 * self.rows * self.place / (PLACES - 1))
        cap = self._bound(_SHORTEST, ["local/small"]) * (self.rows / 2) ** (self.place / (PLACES - 1))
        return cap if self.kind == "cost_usd" else int(cap)

    def _bound(self, size: int, models: Sequence[str]) -> int | float:
        prompt, output = prompt_bound(size), self.choices * self.limit
        if self.kind == "requests":
            return 1
        if self.kind == "tokens":
            return prompt + output
        given = (PriceSpec.model_validate(PRICES[model]) for model in models)
        prices = (find_price("", base_urls=(), given=price, now=0.0) for price in given)
        return max(price.bound(prompt, output) for price in prices if price)


def draw(seed: int, kind: Kind = "cost_usd") -> Trial:
    """The trial of a seed; ten seeds in a row have a cap at each of the places."""
    dice = random.Random(f"{kind} {seed}")
    return Trial(
        seed=seed,
        kind=kind,
        place=seed % PLACES,
        rows=dice.randint(20, 120),
        choices=dice.choice([1, 1, 2, 3]),
        limit=dice.choice([5, 30, 400]),
        concurrency=dice.choice(CONCURRENCY),
        stream=dice.random() < 0.2,
        schema=dice.random() < 0.3,
        falls_back=dice.random() < 0.4,
        hedges=dice.random() < 0.4,
        dedupe=dice.random() < 0.3,
        tokens_per_byte=dice.choice([None, 0.25, 0.6, 1.0]),
        reports=dice.random() < 0.2,
        faults=tuple(dice.sample(FAULTS, dice.randint(0, 5))),
        kills=tuple(sorted(dice.random() for _ in range(dice.choice([0, 0, 1, 2, 3])))),
    )
