"""The books of a job's budget: opened as earlier submits left them, and begun anew each day."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from batchrun.budget.budget import Budget, Caps
from batchrun.budget.spend import DAY, Spend

if TYPE_CHECKING:
    from batchrun.clock import Clock
    from batchrun.job import Job

_LOOK = 60.0
"""Seconds between two looks at the clock, which a machine that slept may have moved."""


def caps_of(job: Job) -> Caps:
    """What the job's budget caps, its time aside."""
    given = job.budget
    return Caps(given.cost_usd, given.tokens, given.requests, per=given.per, soft=given.soft)


def open_budget(job: Job, spent: Spend, clock: Clock) -> Budget | None:
    """The books of the job's budget, as earlier submits left them; None where nothing is capped."""
    caps = caps_of(job)
    if (caps.cost_usd, caps.tokens, caps.requests) == (None, None, None):
        return None
    match caps.per:
        case "run":
            return Budget(caps, spent.total())
        case "day":
            return Budget(caps, spent.day(clock.wall()))
        case "submit":
            return Budget(caps)


async def each_day(budget: Budget, clock: Clock, freed: Callable[[], None]) -> None:
    """Begin the books anew at every midnight (UTC), and never a moment before it.

    A timer may fire early and the clock be set back: only a day that is later than any before counts.
    `freed` is told.
    """
    today = clock.wall() // DAY
    while True:
        await clock.sleep(min(_LOOK, DAY - clock.wall() % DAY))
        if clock.wall() // DAY > today:
            today = clock.wall() // DAY
            budget.begin_day()
            freed()
