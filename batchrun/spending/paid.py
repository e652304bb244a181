"""What a call took of the budget, by its answer. Pure."""

from __future__ import annotations

from batchrun.budget import Amounts
from batchrun.outcome import NoResponse
from batchrun.policy.judge import CallOutcome
from batchrun.prices import Price

_OUT_OF_SIGHT = frozenset({408, 499, 502, 504, 520, 521, 522, 523, 524})
"""Statuses of gateways that have lost sight of the server behind them, which may have done its work."""


def paid(judged: CallOutcome, price: Price | None, at: float) -> Amounts | None:
    """What a call took that was sent `at`; None: it may have been paid, and nothing says how much.

    An answer that is no success costs nothing, except where a gateway gave it without knowing
    (408, 502, 504, Cloudflare's 52x). A success without usage is held at its bound, and so is one whose
    figures are below nothing: no answer gives a part of the budget back.
    """
    exchange = judged.exchange
    if isinstance(exchange, NoResponse):
        return None if exchange.sent else Amounts()
    if not 200 <= exchange.status < 300:
        return None if exchange.status in _OUT_OF_SIGHT else Amounts(requests=1)
    usage = judged.bill.usage
    cost = cost_of(judged, price, at)
    if usage is None or (cost is None and price is not None):
        return None
    tokens = usage.total_tokens
    if tokens is None:
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        tokens = usage.prompt_tokens + usage.completion_tokens
    if tokens < 0 or (cost is not None and cost < 0):
        return None
    return Amounts(cost, tokens, 1)


def may_be_stored(judged: CallOutcome) -> bool:
    """Whether the provider may have answered, and billed, a call that brought no answer."""
    if judged.completion is not None:
        return False
    exchange = judged.exchange
    if isinstance(exchange, NoResponse) or exchange.status in _OUT_OF_SIGHT:
        return paid(judged, None, 0.0) is None
    cut = judged.error is not None and judged.error.type == "invalid_response"
    return cut and paid(judged, None, 0.0) is None


def taken(amounts: Amounts | None, bound: Amounts) -> Amounts:
    """What counts against the budget: what is known, and the bound for the rest."""
    if amounts is None:
        return bound
    if amounts.cost_usd is not None:
        return amounts
    return Amounts(bound.cost_usd, amounts.tokens, amounts.requests)


def cost_of(judged: CallOutcome, price: Price | None, at: float) -> float | None:
    """What the server says the call cost, else what its usage costs by `price`; None where neither tells.

    `at` is when it was sent, in seconds since the epoch.
    """
    bill = judged.bill
    if bill.cost_usd is not None:
        return bill.cost_usd
    if price is None or bill.usage is None:
        return None
    return price.cost(
        bill.usage,
        service_tier=bill.service_tier,
        cache_write_tokens=bill.cache_write_tokens,
        at=at,
    )
