"""The breaker: when too many rows have failed for good."""

from __future__ import annotations

import pytest

from batchrun.policy.breaker import Breaker


def tripped_after(breaker: Breaker, outcomes: list[bool]) -> int | None:
    """How many outcomes it took until the breaker tripped."""
    for count, failed in enumerate(outcomes, 1):
        breaker.record(failed)
        if breaker.tripped:
            return count
    return None


@pytest.mark.parametrize(
    ("share", "after", "outcomes", "expected"),
    [
        pytest.param(0.5, 20, [True] * 30, 20, id="not before `after` rows have finished"),
        pytest.param(0.5, 20, [False, True] * 300, None, id="the share itself is still accepted"),
        pytest.param(0.5, 20, [False] * 10 + [True] * 20, 21, id="one more than the share"),
        pytest.param(0.5, 20, [False] * 1_000_000 + [True] * 60, 1_000_051, id="the last 100 rows count"),
        pytest.param(0.5, 300, [False] * 300 + [True] * 300, 451, id="or the last `after` rows, if more"),
        pytest.param(0.0, 1, [False, False, True], 3, id="0% accepts no failure"),
        pytest.param(1.0, 5, [True] * 500, None, id="100% never trips"),
        pytest.param(0.5, 20, [], None, id="nothing finished"),
    ],
)
def test_trips_when_the_share_of_recent_failures_is_exceeded(
    share: float, after: int, outcomes: list[bool], expected: int | None
) -> None:
    """It judges the last max(after, 100) rows, once `after` have finished."""
    assert expected == tripped_after(Breaker(share, after), outcomes)


def test_says_the_numbers() -> None:
    """The message names the failures, the rows they are among, and the share that was allowed."""
    breaker = Breaker(0.25, 4)
    for failed in (True, False, True, False):
        breaker.record(failed)

    assert breaker.tripped == (
        "2 of the last 4 finished rows failed for good, more than the 25% that stop_when.failed allows"
    )
