"""What a call will take, learned from what earlier ones took."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.limits import Size
from batchrun.limits.estimates import TokenEstimates
from batchrun.outcome import Usage


@pytest.mark.parametrize(
    ("limit", "choices", "size"), [(100, 1, (110, 110)), (100, 3, (310, 310)), (None, 2, (522, 522))]
)
def test_before_thirty_answers_the_limit_counts(
    limit: int | None, choices: int, size: tuple[int, int]
) -> None:
    """Nothing is learned from few answers: the request's limit, else 256, for each choice."""
    estimates = TokenEstimates()
    for _ in range(29):
        estimates.learn(10, Usage(prompt_tokens=10, completion_tokens=5), 1)
    assert estimates.size(10, limit, choices) == Size(*size)


def test_after_thirty_the_95th_percentile_is_expected() -> None:
    """It never passes the limit; what is asked stays the limit."""
    estimates = TokenEstimates()
    for output in range(1, 101):
        estimates.learn(10, Usage(prompt_tokens=10, completion_tokens=output), 1)
    assert estimates.size(10, 500, 2) == Size(1010, 10 + 2 * 95)
    assert estimates.size(10, 50, 1) == Size(60, 60)
    assert estimates.size(10, None, 1) == Size(105, 105)


def test_the_last_256_answers_count() -> None:
    """Outputs that became short are believed after as many answers."""
    estimates = TokenEstimates()
    for output in [1000] * 300 + [10] * 256:
        estimates.learn(10, Usage(completion_tokens=output), 1)
    assert estimates.size(0, None, 1).expected == 10


def test_prompts_are_corrected_by_what_is_reported() -> None:
    """Expected is what servers report; asked is never below bytes / 4, by which some servers count."""
    more, fewer = TokenEstimates(), TokenEstimates()
    for _ in range(10):
        more.learn(100, Usage(prompt_tokens=150), 1)
        fewer.learn(100, Usage(prompt_tokens=50), 1)
    assert more.size(1000, 10, 1) == Size(1510, 1510)
    assert fewer.size(1000, 10, 1) == Size(1010, 510)


def test_answers_of_several_choices_count_for_each() -> None:
    """Usage adds the choices up; the estimate is for one."""
    estimates = TokenEstimates()
    for _ in range(30):
        estimates.learn(10, Usage(prompt_tokens=10, completion_tokens=40), 4)
    assert estimates.size(10, 100, 4).expected == 50


@given(st.lists(st.integers(0, 5000), min_size=30, max_size=600))
def test_the_estimate_is_the_percentile_of_a_sorted_window(outputs: list[int]) -> None:
    """However the answers come, 95 in 100 of the last 256 are at or below it."""
    estimates = TokenEstimates()
    for output in outputs:
        estimates.learn(1, Usage(completion_tokens=output), 1)
    last = sorted(outputs[-256:])
    assert estimates.size(0, None, 1).expected == last[math.ceil(0.95 * len(last)) - 1]
