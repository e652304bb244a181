"""The books of a budget: reservations, what is settled and held, sums by day."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from batchrun.budget import Amounts, Budget, Caps, Per, Reservation, Spend
from batchrun.wording import usd

CENTS = st.floats(min_value=0, max_value=0.9, allow_nan=False)


def reserved(budget: Budget, bound: Amounts) -> Reservation:
    reservation = budget.reserve(bound)
    assert reservation is not None
    return reservation


class AnyOrder(RuleBasedStateMachine):
    """Calls that begin, end with at most what was reserved, or never answer, in any order."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(Caps(cost_usd=1.7, tokens=900, requests=12))
        self.open = 0

    @rule(target=calls, cost=CENTS, tokens=st.integers(0, 400))
    def begin(self, cost: float, tokens: int) -> tuple[Reservation | None, Amounts]:
        bound = Amounts(cost, tokens, 1)
        reservation = self.budget.reserve(bound)
        self.open += reservation is not None
        return reservation, bound

    @rule(call=consumes(calls), share=st.floats(0, 1), known=st.booleans())
    def settle(self, call: tuple[Reservation | None, Amounts], share: float, known: bool) -> None:
        reservation, bound = call
        if reservation is not None:
            cost = (bound.cost_usd or 0) * share if known else None
            self.budget.settle(reservation, Amounts(cost, int((bound.tokens or 0) * share), 1))
            self.open -= 1

    @rule(call=consumes(calls))
    def hold(self, call: tuple[Reservation | None, Amounts]) -> None:
        if call[0] is not None:
            self.budget.hold(call[0])
            self.open -= 1

    @invariant()
    def no_cap_is_passed(self) -> None:
        for name, cap in (("cost_usd", 1.7), ("tokens", 900), ("requests", 12)):
            kinds = (self.budget.spent, self.budget.held, self.budget.reserved)
            assert sum(getattr(kind, name) for kind in kinds) <= cap + (1e-12 if name == "cost_usd" else 0)
        assert self.budget.in_flight == self.open
        exact = (self.budget._spent, self.budget._held, self.budget._reserved)  # floats cannot tell
        assert sum(sums.cost for sums in exact) <= 1_700_000_000_000


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_whatever_the_order_no_cap_is_passed = AnyOrder.TestCase
"""A state machine: spent, held and reserved together stay below every cap."""


def test_ten_dimes_fit_a_dollar() -> None:
    """Ten calls of $0.10 fit a cap of $1, which a sum of floats gets wrong, and an eleventh does not."""
    budget = Budget(Caps(cost_usd=1.0))
    calls = [reserved(budget, Amounts(0.1, 0, 1)) for _ in range(10)]
    assert budget.reserve(Amounts(1e-12, 0, 1)) is None
    for call in calls:
        budget.settle(call, Amounts(0.1, 0, 1))
    assert budget.spent == Amounts(1.0, 0, 10)


def test_less_than_the_smallest_unit_is_rounded_against_the_call() -> None:
    """A call's money is rounded up and the cap down, to whole 1e-12 USD."""
    assert Budget(Caps(cost_usd=2.9e-12)).fits(Amounts(1.4e-12, 0, 1))
    assert not Budget(Caps(cost_usd=1.9e-12)).fits(Amounts(1.4e-12, 0, 1))
    assert not Budget(Caps(cost_usd=1e-12)).fits(Amounts(1.4e-12, 0, 1))


def test_what_was_not_used_is_free_again() -> None:
    """Near the cap a call fits once an earlier one has settled for less; until then nothing is exhausted."""
    budget = Budget(Caps(tokens=100))
    first = reserved(budget, Amounts(None, 80, 1))
    wanted = Amounts(None, 50, 1)
    assert budget.reserve(wanted) is None
    assert budget.exhausted(wanted) is None  # the call under way may free enough
    budget.settle(first, Amounts(None, 30, 1))
    assert budget.exhausted(wanted) is None
    assert budget.reserve(wanted) is not None


def test_a_call_that_took_more_than_its_bound_counts_in_full() -> None:
    """The truth is counted, though it passes the cap; then nothing goes any more."""
    budget = Budget(Caps(cost_usd=1))
    budget.settle(reserved(budget, Amounts(0.5, 10, 1)), Amounts(1.25, 20, 1))
    assert budget.spent == Amounts(1.25, 20, 1)
    assert not budget.fits(Amounts(0.0, 0, 1))


def test_what_an_answer_does_not_say_counts_as_reserved() -> None:
    """Neither the price nor the tokens of an answer without usage are taken for nothing."""
    budget = Budget(Caps(cost_usd=1, tokens=100))
    budget.settle(reserved(budget, Amounts(0.5, 10, 1)), Amounts(None, None, 1))
    assert budget.spent == Amounts(0.5, 10, 1)


def test_a_call_that_was_not_sent_takes_nothing() -> None:
    """Settled with nothing, not even its request counts."""
    budget = Budget(Caps(requests=1))
    budget.settle(reserved(budget, Amounts(0.5, 10, 1)), Amounts())
    assert budget.fits(Amounts(0.5, 10, 1))


def test_a_reservation_ends_once() -> None:
    """Settling what is settled or held would free money twice."""
    budget = Budget(Caps())
    call = reserved(budget, Amounts(0.5, 10, 1))
    budget.hold(call)
    with pytest.raises(ValueError, match="once"):
        budget.hold(call)
    with pytest.raises(ValueError, match="once"):
        budget.settle(call, Amounts())
    assert budget.held == Amounts(0.5, 10, 1)


def test_earlier_submits_count() -> None:
    """What they spent and what their unanswered calls hold is gone from the start."""
    budget = Budget(Caps(cost_usd=1, requests=20), Amounts(0.5, 10, 7), Amounts(0.4, 10, 2))
    assert not budget.fits(Amounts(0.100000000001, 0, 1))
    assert budget.fits(Amounts(0.1, 0, 11))
    assert not budget.fits(Amounts(0.1, 0, 12))
    budget.begin_day()
    assert budget.fits(Amounts(1, 0, 20))


@pytest.mark.parametrize(
    ("per", "today", "left"),
    [("run", True, 9), ("run", False, 9), ("day", True, 9), ("day", False, 7), ("submit", True, 7)],
)
def test_a_call_of_an_earlier_submit_that_is_found_takes_what_it_took(
    per: Per, today: bool, left: int
) -> None:
    """Only where it was in the books, which never give back what they did not count."""
    budget = Budget(Caps(tokens=10, per=per), Amounts(0, 3, 1))
    budget.correct(Amounts(None, 3, 1), Amounts(0.1, 1, 1), today=today)
    assert [budget.fits(Amounts(0, tokens, 1)) for tokens in (left, left + 1)] == [True, False]


def test_only_a_soft_budget_lets_calls_go_whose_most_is_not_known() -> None:
    """It does while anything is left; a hard one is never asked that."""
    unknown = Amounts(None, 10, 1)
    with pytest.raises(ValueError, match="upper bound"):
        Budget(Caps(cost_usd=1)).fits(unknown)
    assert Budget(Caps(tokens=10)).fits(unknown)  # no cap on money: nobody asks
    soft = Budget(Caps(cost_usd=1, soft=True))
    soft.settle(reserved(soft, unknown), Amounts(0.999999, 10, 1))
    assert soft.fits(unknown)
    soft.settle(reserved(soft, unknown), Amounts(0.5, 10, 1))
    assert not soft.fits(unknown)
    assert soft.exhausted(unknown) == (
        "budget.cost_usd: $1.50 of $1.00 are spent or held; raise budget.cost_usd to go on"
    )


# caps, spent, held, the next call's bound, the sentence
SENTENCES: list[tuple[Caps, Amounts, Amounts, Amounts, str]] = [
    (
        Caps(cost_usd=20),
        Amounts(19.58, 0, 500),
        Amounts(0.40, 0, 3),
        Amounts(0.06, 0, 1),
        "budget.cost_usd: $19.98 of $20.00 are spent or held ($0.40 for 3 calls without an answer), "
        "the next call may cost up to $0.06; raise budget.cost_usd to go on",
    ),
    (
        Caps(cost_usd=0.002, per="submit"),
        Amounts(0.0011, 0, 5),
        Amounts(0.0004, 0, 1),
        Amounts(0.00062, 0, 1),
        "budget.cost_usd: $0.0015 of $0.002 of this submit are spent or held ($0.0004 for 1 call without an "
        "answer), the next call may cost up to $0.00062; submit again to go on",
    ),
    (
        Caps(cost_usd=1),
        Amounts(),
        Amounts(),
        Amounts(3, 0, 1),
        "budget.cost_usd: $0.00 of $1.00 are spent or held, the next call may cost up to $3.00, more than "
        "the whole budget; raise budget.cost_usd to go on",
    ),
    (
        Caps(tokens=1_000_000, per="day"),
        Amounts(0, 999_500, 500),
        Amounts(),
        Amounts(None, 1_200, 1),
        "budget.tokens: 999,500 of 1,000,000 for today (UTC) are spent or held, the next call may take up to "
        "1,200; raise budget.tokens to go on, or submit again tomorrow",
    ),
    (
        Caps(requests=200, per="submit"),
        Amounts(None, None, 198),
        Amounts(0, 0, 2),
        Amounts(None, None, 1),
        "budget.requests: 200 of 200 of this submit are made; submit again to go on",
    ),
]


@pytest.mark.parametrize(("caps", "spent", "held", "bound", "said"), SENTENCES)
def test_the_sentence_names_cap_amounts_and_the_way_on(
    caps: Caps, spent: Amounts, held: Amounts, bound: Amounts, said: str
) -> None:
    """What is used of what, what is held for which calls, what the next one may take, what to do."""
    budget = Budget(caps, spent, held)
    assert budget.exhausted(bound) == said
    assert budget.exhausted(Amounts()) is None


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (1234.5, "$1,234.50"),
        (0.1, "$0.10"),
        (0.06, "$0.06"),
        (0.6, "$0.60"),
        (0.05, "$0.05"),
        (0.12345, "$0.123"),
        (0.01, "$0.01"),
        (0.0123, "$0.0123"),
        (0.00996, "$0.00996"),
        (0.009996, "$0.01"),
        (0.9996, "$1.00"),
        (3.2e-7, "$0.00000032"),
        (1.5e-12, "$0.000000000002"),
        (1e-13, "less than $0.000000000001"),
    ],
)
def test_money_is_written_with_the_digits_that_matter(amount: float, text: str) -> None:
    """Cents, and three digits of what is less than a dollar, without zeros at the end of them."""
    assert usd(amount) == text


NOON, NEXT = 1_795_262_400.0, 1_795_262_400.0 + 86_400  # 2026-11-21 12:00 UTC
AMOUNTS = st.builds(Amounts, st.floats(0, 900), st.integers(0, 10**12), st.integers(0, 10**6))


def test_spend_is_summed_by_day() -> None:
    """A document of sums by day (UTC), from which a run's total and a day's begin."""
    spend = Spend.on(NOON, Amounts(0.1, 10, 1)) + Spend.on(NOON + 100, Amounts(0.2, None, 1))
    spend += Spend.on(NEXT, Amounts(None, 5, 1))
    assert spend.document() == {"2026-11-21": [0.3, 10, 2], "2026-11-22": [0.0, 5, 1]}
    assert spend.total() == Amounts(0.3, 15, 3)
    assert spend.day(NOON) == Amounts(0.3, 10, 2)
    assert spend.day(NEXT + 86_400) == Amounts()


@given(st.lists(st.tuples(st.sampled_from([NOON, NEXT]), AMOUNTS), max_size=5))
def test_spend_survives_its_document(calls: list[tuple[float, Amounts]]) -> None:
    """What is written is what is read, to the last digit."""
    spend = sum((Spend.on(wall, amounts) for wall, amounts in calls), Spend())
    again = Spend.read(spend.document())
    assert again.document() == spend.document()
    assert again.total() == spend.total()


@pytest.mark.parametrize("document", [{"2026-11-21": 3}, {"2026-11-21": [1, 2]}, {"2026-11-21": ["x", 1, 1]}])
def test_a_document_of_something_else_is_refused(document: dict[str, Any]) -> None:
    """Sums that cannot be read are not taken for nothing spent."""
    with pytest.raises(ValueError, match=r".+"):
        Spend.read(document)


def test_what_batches_keep_free_is_not_waited_for() -> None:
    """They are with the provider for hours: what a call lacks because of them is said, and the way on."""
    budget = Budget(Caps(tokens=100))
    batch = budget.reserve(Amounts(tokens=90, requests=3), in_batch=True)
    assert batch is not None
    assert budget.in_flight == 0
    assert budget.exhausted(Amounts(tokens=10, requests=1)) is None
    assert budget.exhausted(Amounts(tokens=20, requests=1)) == (
        "budget.tokens: 0 of 100 are spent or held, 90 are kept for batches with the provider, the next call "
        "may take up to 20; when those are over, submit again to go on"
    )
    budget.settle(batch, Amounts(tokens=30, requests=3))
    assert budget.exhausted(Amounts(tokens=20, requests=1)) is None
    assert budget.reserved.tokens == 0
