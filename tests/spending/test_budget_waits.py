"""Near a cap calls wait for others to leave them a part of the budget: each wakes, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from batchrun.admission import Admission, Unavailable
from batchrun.admission.gate import CallFeedback
from batchrun.budget import Amounts, Budget, Caps
from batchrun.budget.opening import each_day
from batchrun.errors import BudgetExhaustedError
from batchrun.limits import Limits, Size
from batchrun.outcome import Error
from tests.clock import VirtualClock, run_virtual
from tests.gates import admitted

EPOCH = 1_800_000_000.0
"""2027-01-15 08:00 UTC."""
SMALL = Size(10, 10)
DOWN = Error("server", "it is down", None, 500)
LEAVES = frozenset({"server"})


def usd(amount: float | None) -> Amounts:
    return Amounts(amount, 0, 1)


@dataclass
class Books:
    """Calls through one admission under a cap, and what became of each."""

    cap: float
    endpoints: dict[str, Limits] = field(default_factory=lambda: {"a": Limits(), "b": Limits()})
    proven: bool = True
    ended: dict[str, str] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.budget = Budget(Caps(cost_usd=self.cap))
        models = {(name, model): Limits() for name in self.endpoints for model in "mn"}
        self.admission = Admission(
            self.endpoints, models, clock=VirtualClock(EPOCH), jitter=lambda: 0.5, budget=self.budget
        )
        for gate in (route.model for route in self.admission._routes.values()) if self.proven else ():
            gate.proven = True

    async def call(
        self,
        name: str,
        bound: float,
        *,
        endpoint: str = "a",
        model: str = "m",
        seconds: float = 1.0,
        paid: float | None = 0.0,
        feedback: CallFeedback | None = None,
        leave_for: frozenset[str] = frozenset(),
    ) -> None:
        """`paid` None: no answer ever comes."""
        try:
            async with admitted(
                self.admission, endpoint, model, SMALL, usd(bound), leave_for=leave_for
            ) as permit:
                if isinstance(permit, Unavailable):
                    self.ended[name] = "closed"
                    return
                self.begun[name] = VirtualClock().monotonic()
                await anyio.sleep(seconds)
                if paid is not None:
                    permit.finished(
                        feedback or CallFeedback("ok", used=1, proves=True, report="ok"), usd(paid)
                    )
                self.ended[name] = "landed"
        except BudgetExhaustedError:
            self.ended[name] = "refused"
            assert self.budget.in_flight == 0, "what is under way may leave something"
            assert not self.budget.fits(usd(bound))


async def together(*calls: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Start the calls in this order."""
    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(call)
            await anyio.lowlevel.checkpoint()


def test_waiters_at_two_endpoints_both_wake() -> None:
    """One call holds all of the budget; what it leaves is taken by one waiter, and then by the other."""

    async def main() -> Books:
        books = Books(1.0)
        await together(
            lambda: books.call("first", 1.0, paid=0.1),
            lambda: books.call("here", 0.9, endpoint="a", paid=0.1),
            lambda: books.call("there", 0.8, endpoint="b", paid=0.1),
        )
        return books

    books = run_virtual(main)
    assert books.ended == {"first": "landed", "here": "landed", "there": "landed"}
    assert books.begun == {"first": 0.0, "here": 1.0, "there": 2.0}


def test_a_waiter_that_gives_up_leaves_the_others_waiting_well() -> None:
    """A copy of a straggler is called back while it waits; whoever waits elsewhere still wakes."""

    async def main() -> Books:
        books = Books(1.0)

        async def given_up() -> None:
            with anyio.move_on_after(0.5):
                await books.call("copy", 0.9)

        await together(
            lambda: books.call("first", 1.0, paid=0.1),
            lambda: books.call("there", 0.9, endpoint="b", paid=0.1),
            given_up,
        )
        return books

    books = run_virtual(main)
    assert books.ended == {"first": "landed", "there": "landed"}
    assert books.begun["there"] == 1.0
    assert books.admission.short == 0


def test_a_call_without_an_answer_wakes_the_waiters_too() -> None:
    """It is held for good; those for whom nothing is left are told at once, instead of waiting for ever."""

    async def main() -> Books:
        books = Books(1.0)
        await together(
            lambda: books.call("lost", 0.9, paid=None),
            lambda: books.call("small", 0.1, endpoint="b", seconds=3.0, paid=0.1),
            lambda: books.call("large", 0.5),
            lambda: books.call("large too", 0.5, model="n"),
        )
        return books

    books = run_virtual(main)
    assert books.ended == {"lost": "landed", "small": "landed", "large": "refused", "large too": "refused"}
    assert books.budget.held.cost_usd == 0.9


def test_a_paused_endpoint_reserves_nothing() -> None:
    """A call that waits for a Retry-After keeps no part of the budget from calls elsewhere."""

    async def main() -> Books:
        books = Books(1.0)
        books.admission.pause("a", 60.0)
        await together(
            lambda: books.call("paused", 1.0, paid=0.0),
            lambda: books.call("there", 1.0, endpoint="b", paid=0.0),
        )
        return books

    books = run_virtual(main)
    assert books.begun["there"] == 0.0
    assert books.begun["paused"] >= 60.0


def test_a_waiter_goes_on_to_another_model_when_its_endpoint_closes() -> None:
    """The closing reaches it also while it waits for the budget."""

    async def main() -> Books:
        books = Books(1.0)

        async def close() -> None:
            await anyio.sleep(0.5)
            books.admission.close("b", DOWN)

        await together(
            lambda: books.call("first", 1.0, seconds=10.0),
            lambda: books.call("waits", 1.0, endpoint="b"),
            close,
        )
        return books

    assert run_virtual(main).ended == {"first": "landed", "waits": "closed"}


def _random_call(books: Books, dice: random.Random, number: int) -> Callable[[], Coroutine[Any, Any, None]]:
    """A call that comes at any time, takes its time, and ends in any way; some are given up."""
    bound = dice.choice([0.1, 0.3, 1.0])
    bad = CallFeedback("failed", report="failed", error=DOWN)
    feedback = dice.choice([None, None, None, bad, CallFeedback("refused")])
    paid = dice.choice([0.0, 0.02, bound, None])
    after, seconds, patience = dice.uniform(0, 20), dice.uniform(0.01, 5), dice.choice([3.0, 1e6, 1e6])
    endpoint, model = dice.choice("ab"), dice.choice("mn")
    leaves = dice.choice([frozenset(), LEAVES])

    async def run() -> None:
        await anyio.sleep(after)
        with anyio.move_on_after(patience):
            await books.call(
                str(number),
                bound,
                endpoint=endpoint,
                model=model,
                seconds=seconds,
                paid=paid,
                feedback=feedback,
                leave_for=leaves,
            )
        books.ended.setdefault(str(number), "given up")

    return run


@pytest.mark.parametrize("seed", range(60))
def test_no_call_waits_for_ever(seed: int) -> None:
    """Two endpoints with slots and rates, pauses, an endpoint that fails, calls given up: each call ends.

    In virtual time a call that nothing will wake ends the test as `Stuck`. The cap is never passed.
    """
    dice = random.Random(seed)

    async def main() -> Books:
        slots = Limits(concurrency=dice.choice([1, 2, 5]))
        paced = Limits(rpm=dice.choice([30, 120]), concurrency=3)
        books = Books(
            dice.choice([1.0, 2.0, 6.0]), {"a": slots, "b": dice.choice([slots, paced])}, dice.random() < 0.5
        )

        async def weather() -> None:
            for _ in range(3):
                await anyio.sleep(dice.uniform(0, 8))
                until = VirtualClock().monotonic() + dice.uniform(1, 30)
                books.admission.pause(dice.choice("ab"), until)
            if dice.random() < 0.3:
                books.admission.close(dice.choice("ab"), DOWN, seconds=dice.choice([None, 5.0]))

        await together(weather, *(_random_call(books, dice, number) for number in range(40)))
        return books

    books = run_virtual(main)
    assert len(books.ended) == 40
    assert (books.budget.spent.cost_usd or 0) + (books.budget.held.cost_usd or 0) <= books.cap
    assert (books.admission.short, books.budget.in_flight) == (0, 0)


class _Early(VirtualClock):
    """A clock whose timers fire a hundredth of a second early."""

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(max(seconds - 0.01, 0.001))


def test_a_day_begins_at_midnight_and_not_before() -> None:
    """Calls just before midnight count in the day that they are sent on, also where a timer fires early."""

    async def main() -> list[float]:
        budget, clock = Budget(Caps(cost_usd=1.0, per="day"), usd(1.0)), _Early(EPOCH)
        begins = []
        with anyio.move_on_after(3 * 86_400):
            async with anyio.create_task_group() as group:
                group.start_soon(each_day, budget, clock, lambda: None)
                while True:
                    await anyio.sleep(0.005 if clock.wall() % 86_400 > 86_390 else 5.0)
                    if not budget.spent.cost_usd:
                        begins.append(clock.wall() % 86_400)
                        reservation = budget.reserve(usd(1.0))
                        assert reservation
                        budget.settle(reservation, usd(1.0))
        return begins

    begins = run_virtual(main)
    assert len(begins) == 3
    assert all(seconds < 10 for seconds in begins), "the books are begun anew just after midnight"
