"""The arithmetic of ranges: what rows will take by what others took, and how it is said."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.forecast.estimate import (
    Pace,
    Range,
    answer_tokens,
    conversation_prompts,
    duration,
    exactly,
    projected,
)
from batchrun.forecast.figures import estimated_usd, number, rounded, rounded_up, spread, stated, time

COUNTS = st.floats(min_value=0, max_value=1e6)
ONCE = exactly(1)


def test_equal_rows_leave_no_doubt() -> None:
    """Twenty rows of 38 tokens: a thousand more take 38,000."""
    assert projected([38.0] * 20, 1_000) == exactly(38_000)


@pytest.mark.parametrize("values", [[100.0], [100.0, 100.0]])
def test_two_rows_say_nothing_about_differences(values: list[float]) -> None:
    """However alike they are: the range is a factor of two either way."""
    assert projected(values, 10) == Range(500, 1_000, 2_000)


def test_a_range_by_hand() -> None:
    """Three rows of 10, 20 and 30 (deviation 10, t 4.303), 300 further ones: half-width 4.303 x 10 x 300 x
    root(1/3 + 1/300) is 7,490, and no row is taken for less than the least that was seen."""
    found = projected([10.0, 20.0, 30.0], 300)
    assert (found.low, found.likely) == (3_000, 6_000)
    assert found.high == pytest.approx(6_000 + 4.303 * 10 * 300 * math.sqrt(1 / 3 + 1 / 300))


def test_short_first_rows_do_not_hide_long_ones() -> None:
    """By the sizes of the prompts: two tokens for each estimated one, whatever the sample's lengths."""
    found = projected([20.0, 40.0, 60.0], 100, [10.0, 20.0, 30.0], 100_000.0)
    assert found.likely == pytest.approx(200_000)
    assert found.high == pytest.approx(200_000)


@pytest.mark.parametrize("sigma", [0.3, 0.8])
@pytest.mark.parametrize("sample", [5, 10, 50])
def test_the_range_holds_the_truth(sigma: float, sample: int) -> None:
    """For answers of lognormal length, at least in 17 of 20 runs; and the likely figure is not biased."""
    draws = random.Random(7)
    held, ratios = 0, []
    for _ in range(400):
        lengths = [draws.lognormvariate(5, sigma) for _ in range(sample + 200)]
        found, truth = projected(lengths[:sample], 200), sum(lengths[sample:])
        assert found.high is not None
        held += found.low <= truth <= found.high
        ratios.append(found.likely / truth)
    assert held >= 0.85 * 400
    assert sum(ratios) / 400 == pytest.approx(1, abs=0.1)


@given(st.lists(COUNTS, min_size=1, max_size=50), st.integers(0, 10**7))
def test_a_range_is_in_order(values: list[float], rows: int) -> None:
    """Whatever the rows took; no rows take nothing."""
    found = projected(values, rows)
    assert found.high is not None
    assert 0 <= found.low <= found.likely <= found.high
    assert rows or found == exactly(0)


@pytest.mark.parametrize(
    ("most", "choices", "expected"),
    [
        (400, 1, Range(16, 200, 400)),
        (8, 1, Range(2, 4, 8)),
        (None, 1, Range(16, 256, None)),
        (None, 3, Range(48, 768, None)),
        (1_200, 3, Range(48, 600, 1_200)),
    ],
)
def test_answers_that_nobody_has_seen(most: float | None, choices: int, expected: Range) -> None:
    """A few tokens to all that the request allows, half of that likely; without a limit no upper end."""
    assert answer_tokens(most, choices=choices) == expected


def test_a_transcript_is_sent_again_with_each_turn() -> None:
    """Three answers of 50 tokens, turns of 10, a prompt of 100: 100 + 160 + 220."""
    found = conversation_prompts(exactly(100), exactly(3), exactly(50), 10)
    assert found == exactly(100 + 160 + 220)


def test_one_answer_leaves_the_prompt_as_it_is() -> None:
    """Also where answers have no limit: they are not sent back."""
    assert conversation_prompts(exactly(100), ONCE, answer_tokens(None), 0) == exactly(100)
    assert conversation_prompts(exactly(100), exactly(2), answer_tokens(None), 0).high is None


FREE = Range(10, 10, 10)


@pytest.mark.parametrize(
    ("pace", "likely", "held_by"),
    [
        (Pace(None, None, FREE), 200, "calls under way"),
        (Pace(100, None, FREE), 602, "requests a minute"),
        (Pace(100, 50_000, FREE), 1_202, "tokens a minute"),
        (Pace(100_000, 10**9, FREE), 200, "calls under way"),
        (Pace(None, None, exactly(5_000)), 2, "calls under way"),
    ],
)
def test_the_slowest_limit_decides(pace: Pace, likely: float, held_by: str) -> None:
    """1,000 calls of 2 s and 1,000 tokens, 10 at once: by latency, by rpm (and the last call), by tpm."""
    found, by = duration(1_000, exactly(1_000), exactly(1_000_000), exactly(2), pace)
    assert found.likely == pytest.approx(likely)
    assert by == held_by


def test_a_range_of_time_spans_what_is_not_known() -> None:
    """The fewest calls at once and the longest answers make the high end."""
    pace = Pace(None, None, Range(20, 64, 512))
    found, _ = duration(1_024, exactly(1_024), exactly(1), Range(1, 2, 4), pace)
    assert found == Range(2, 32, 4 * 1_024 / 20)
    endless, _ = duration(1_024, exactly(1_024), exactly(1), Range(1, 2, None), pace)
    assert endless.high is None


def test_what_is_not_spent_at_full_pace_comes_on_top() -> None:
    """Of whatever limit decides; of no rows nothing."""
    aside = Range(0, 3, 10)
    for pace in (Pace(None, None, FREE, aside=aside), Pace(100_000, None, FREE, aside=aside)):
        assert duration(1_000, exactly(1_000), exactly(1), exactly(2), pace)[0] == Range(200, 203, 210)
    assert duration(0, exactly(0), exactly(0), exactly(0), Pace(None, None, FREE, aside=aside))[0] == exactly(
        0
    )


@pytest.mark.parametrize(
    ("spelled", "amount", "words"),
    [
        (estimated_usd, 0, "$0"),
        (estimated_usd, 1e-9, "$0"),
        (estimated_usd, 0.00123, "$0.0012"),
        (estimated_usd, 0.196, "$0.20"),
        (estimated_usd, 0.0502, "$0.05"),
        (estimated_usd, 1.234, "$1.20"),
        (estimated_usd, 9.99, "$10"),
        (estimated_usd, 1_234, "$1,200"),
        (number, 7.4, "7"),
        (number, 312_345, "310,000"),
        (number, 1_234_567, "1.2 million"),
        (number, 996_000, "1 million"),
        (number, 2.56e10, "26 billion"),
        (time, 0.2, "1 s"),
        (time, 39.2, "40 s"),
        (time, 1_490, "25 min"),
        (time, 12_600, "3.5 hours"),
        (time, 350_000, "4.1 days"),
    ],
)
def test_an_amount_has_two_digits(spelled: Callable[[float], str], amount: float, words: str) -> None:
    """More would say that an estimate is known better than it is."""
    assert spelled(amount) == words


@given(COUNTS)
def test_rounding_is_near(amount: float) -> None:
    """Two digits are within a twentieth."""
    assert rounded(amount) == pytest.approx(amount, rel=0.051)
    assert amount <= rounded_up(amount) <= amount * 1.11


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (Range(0.9, 1.2, 1.7), "about $1.20 ($0.90 to $1.70)"),
        (Range(1.21, 1.22, 1.23), "about $1.20"),
        (Range(0.9, 1.2, None), "about $1.20 (from $0.90, with no upper bound)"),
    ],
)
def test_a_range_in_words(amount: Range, words: str) -> None:
    """The likely figure first; one figure where the ends are spelled alike."""
    assert spread(amount, estimated_usd) == words


def test_a_budget_is_said_as_it_is() -> None:
    """It is no estimate: nothing is rounded away."""
    assert stated("cost_usd", 1_249.5) == "$1,249.50"
    assert stated("cost_usd", 0.05) == "$0.05"
    assert stated("tokens", 1_249_999) == "1,249,999 tokens"
    assert stated("requests", 1) == "1 request"
