"""What one model costs at one endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from batchrun.outcome import Usage
from batchrun.prices.rates import USD, Rate, Rates, units

if TYPE_CHECKING:
    from batchrun.job.sections.spending import PriceSpec

STANDARD = ""
_AS_STANDARD = frozenset({STANDARD, "auto", "default", "standard", "on_demand", "scale"})
"""`service_tier` of answers that are billed at the standard rates. `scale` is OpenAI's prepaid capacity."""
_NEVER_DEARER = frozenset({"flex", "batch"})
"""Tiers that cost the standard rates where no lower ones are known: never too little."""

_ANY = "*"
"""The tier of a price that holds for all tiers."""
_BATCH = "batch"
"""What price lists call the tier of what goes through a provider's batch."""


@dataclass(frozen=True, slots=True)
class Period:
    """The rates of a stretch of time, by service tier; STANDARD is always there."""

    tiers: Mapping[str, Rates]
    active: Callable[[float], bool] | None = None
    """Whether it holds at a time in seconds since the epoch; None: at any."""
    batch: Rates | None = None
    """Those of what goes through a batch, where no tier of that name has them."""

    @property
    def of_batch(self) -> Rates | None:
        """The rates of what goes through a batch; None where they are not known."""
        return self.batch or self.tiers.get(_BATCH)

    def in_batch(self) -> Period:
        """The same time with the rates of a batch for whatever tier; as it is where they are not known."""
        rates = self.of_batch
        return self if rates is None else Period({STANDARD: rates, _ANY: rates}, self.active, rates)


@dataclass(frozen=True)
class Price:
    """What a model costs. All amounts are USD.

    Attributes:
        source: where it comes from.
        model: provider and model whose price it is, as the source calls them.
        periods: the last one that is active holds, the first where none is.
        ahead: those of `periods` that can hold from now on.
        writes_unseen: the provider bills writing to its cache by itself, without being asked.
        doubt: why a call may cost more than this says, as the end of a sentence; None where it may not.
    """

    source: Literal["genai-prices", "job"]
    model: str
    periods: tuple[Period, ...]
    ahead: tuple[Period, ...]
    writes_unseen: bool = False
    doubt: str | None = None

    def cost(
        self,
        usage: Usage,
        *,
        service_tier: str | None = None,
        cache_write_tokens: int | None = None,
        at: float | None = None,
    ) -> float | None:
        """What a call cost; None where its usage, or the price of its tier or of its audio, is not known.

        `service_tier` is the answer's, not the request's ("batch" for what went through a batch).
        `at` is when it was sent, in seconds since the epoch; without it the dearest rates of the day
        are taken. `cache_write_tokens`: `usage.prompt_tokens_details.cache_write_tokens`; where a
        provider writes its cache unasked and does not say how much, the whole prompt is taken.
        """
        dearest = None
        for rates in self._rates(service_tier, at):
            if rates is None:
                return None
            found = rates.cost(usage, cache_write_tokens, writes_unseen=self.writes_unseen)
            if found is None:
                return None
            dearest = found if dearest is None else max(dearest, found)
        return None if dearest is None else dearest / USD

    def bound(self, prompt_tokens: int, output_tokens: int) -> float:
        """The most that a request of at most so many text tokens, and an answer of so many, can cost.

        The dearest tier, time and kind of token, recordings in the prompt aside, and spoken answers
        where their price is not known (`knows_speech`). `output_tokens` is n times the limit of one
        answer (`output_bound`).
        """
        of_prompt, of_answer = self._ceilings[0][1:]
        for above, step_prompt, step_answer in self._ceilings:
            if prompt_tokens > above:
                of_prompt, of_answer = step_prompt, step_answer
        return (prompt_tokens * of_prompt + output_tokens * of_answer + self._dearest_request) / USD

    def saved(self, usage: Usage) -> float:
        """What the cached tokens of calls cost less than the full input price; the least that can hold."""
        return min(period.tiers[STANDARD].saved(usage) for period in self.ahead) / USD

    def knows(self, service_tier: str | None) -> bool:
        """Whether the price of a service tier is known at any time ahead."""
        return all(_tier(period, service_tier) is not None for period in self.ahead)

    def knows_speech(self) -> bool:
        """Whether the price of spoken answers is known in every tier at any time ahead."""
        return all(rates.knows_spoken for rates in self._all_ahead())

    @property
    def knows_batch(self) -> bool:
        """Whether the price of what goes through a provider's batch is known at any time ahead."""
        return all(period.of_batch is not None for period in self.ahead)

    @cached_property
    def in_batch(self) -> Price:
        """The price of the same model for what goes through a provider's batch, whatever its tier.

        At times for which no such price is known, all that a call of its own may cost: never too little.
        """
        periods = tuple(period.in_batch() for period in self.periods)
        ahead = tuple(period.in_batch() for period in self.ahead)
        return replace(self, periods=periods, ahead=ahead)

    def document(self) -> dict[str, Any]:
        """USD per million tokens at the standard rates of a short prompt, and where they come from."""
        rates = [period.tiers[STANDARD] for period in self.ahead]
        kinds = {name: [getattr(one, name).base for one in rates] for name in ("input", "cached", "output")}
        per_million = {name: max(found) * 1_000_000 / USD for name, found in kinds.items()}
        return {**per_million, "source": self.source, "model": self.model}

    @cached_property
    def _ceilings(self) -> list[tuple[int, int, int]]:
        """(prompt tokens above, units for a prompt's token, an answer's), ascending: the dearest ahead."""
        every = self._all_ahead()
        found = []
        of_prompt = of_answer = 0
        for above in sorted({-1}.union(*(rates.steps() for rates in every))):
            here = [rates.dearest(above + 1) for rates in every]
            of_prompt = max(of_prompt, *(prompt for prompt, _ in here))
            of_answer = max(of_answer, *(answer for _, answer in here))
            found.append((above, of_prompt, of_answer))
        return found

    @cached_property
    def _dearest_request(self) -> int:
        """The most units that a request costs beside its tokens."""
        return max(rates.request for rates in self._all_ahead())

    def _all_ahead(self) -> list[Rates]:
        return [rates for period in self.ahead for rates in period.tiers.values()]

    def _rates(self, service_tier: str | None, at: float | None) -> list[Rates | None]:
        """The rates of a tier at a time; without a time, all that can hold."""
        if at is None:
            return [_tier(period, service_tier) for period in self.ahead]
        for period in reversed(self.periods):
            if period.active is None or period.active(at):
                return [_tier(period, service_tier)]
        return [_tier(self.periods[0], service_tier)]


def _tier(period: Period, name: str | None) -> Rates | None:
    wanted = (name or STANDARD).lower()
    if wanted in period.tiers:
        return period.tiers[wanted]
    if wanted in _AS_STANDARD or wanted in _NEVER_DEARER or _ANY in period.tiers:
        return period.tiers[STANDARD]
    return None


def given_price(model: str, given: PriceSpec) -> Price:
    """The job's own price of a model, whatever the tier, and `given.batch` of it in a batch."""
    rates, batch = _given_rates(given, 1), _given_rates(given, given.batch)
    periods = (Period({STANDARD: rates, _ANY: rates}, batch=batch),)
    return Price("job", model, periods, periods)


def _given_rates(given: PriceSpec, share: float) -> Rates:
    """A share of what the job says; audio without a price costs what text does."""
    cached = given.input if given.cached is None else given.cached
    spelled = {
        "input": given.input,
        "output": given.output,
        "cached": cached,
        "input_audio": given.input if given.input_audio is None else given.input_audio,
        "cached_audio": cached if given.input_audio is None else given.input_audio,
        "output_audio": given.output if given.output_audio is None else given.output_audio,
    }
    rates = {name: Rate(_part_of(price, share)) for name, price in spelled.items()}
    return Rates.of(rates, _part_of(given.request, share))


def _part_of(price: float, share: float) -> int:
    """A share of a price in USD per million, as units for one, rounded up once."""
    return units(Decimal(str(price)) * Decimal(str(share)))
