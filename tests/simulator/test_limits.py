"""Sliding windows, counted as a server counts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.simulator.config import Limits
from batchrun.simulator.limits.headers import go_duration
from batchrun.simulator.limits.limits import Bucket, ModelLimits, SlidingWindow

STEPS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=60)


def take(window: SlidingWindow, now: float, amount: int) -> float:
    """Count `amount` where it fits; the seconds until it does."""
    if not (wait := window.wait(now, amount)):
        window.add(now, amount)
    return wait


@given(STEPS)
def test_no_window_holds_more_than_the_limit(steps: list[tuple[int, int]]) -> None:
    """However calls come, no stretch of 10 s holds more than 10, and nothing that fits is refused."""
    window, now, taken = SlidingWindow(10, 10), 0.0, list[tuple[float, int]]()
    for pause, amount in steps:
        now += pause / 8
        inside = sum(a for at, a in taken if at > now - 10)
        assert (inside + amount <= 10) == (take(window, now, amount) == 0)
        if inside + amount <= 10:
            taken.append((now, amount))


@given(STEPS)
def test_the_wait_is_exact(steps: list[tuple[int, int]]) -> None:
    """After the wait it fits, and a moment before it does not."""
    window, now = SlidingWindow(10, 10), 0.0
    for pause, amount in steps:
        now += pause / 8
        wait = take(window, now, amount)
        if amount > 10:
            assert math.inf == wait
        elif wait:
            assert window.wait(now + wait - 1 / 16, amount) > 0
            now += wait
            assert take(window, now, amount) == 0


@given(STEPS)
def test_a_bucket_gives_back_all_the_time(steps: list[tuple[int, int]]) -> None:
    """Its level falls by limit / window in each second, and the wait it tells is exact."""
    bucket, now, level = Bucket(10, 5), 0.0, 0.0
    for pause, amount in steps:
        now, level = now + pause / 8, max(0.0, level - pause / 8 * 2)
        assert math.isclose(bucket.used(now), level, abs_tol=1e-6)
        assert math.isclose(bucket.reset(now), level / 2, abs_tol=1e-6)
        wait = bucket.wait(now, amount)
        if amount > 10:
            assert wait == math.inf
            continue
        assert math.isclose(wait, max(0.0, level + amount - 10) / 2, abs_tol=1e-6)
        if wait:
            assert bucket.wait(now + wait * 0.99, amount) > 0
            now, level = now + wait, level - 2 * wait
        assert bucket.wait(now, amount) == 0
        bucket.add(now, amount)
        level += amount


@pytest.mark.parametrize("kind", ["sliding", "bucket"])
def test_what_is_used_stays_used_when_the_limit_changes(kind: str) -> None:
    """Less fits at once when it falls, and more when it rises; nothing is negative."""
    rule = {"tpm": [{"at": 0, "tpm": 100}, {"at": 1, "tpm": 50}, {"at": 2, "tpm": 200}], "kind": kind}
    limits = ModelLimits(Limits.model_validate({**rule, "window": 1000}))
    assert limits.admit(0, 100) is None
    assert limits.headers(1)["x-ratelimit-remaining-tokens"] == "0"
    assert limits.admit(1, 1) is not None
    assert limits.admit(2, 99) is None


def test_the_day_is_counted_beside_the_minute() -> None:
    """Either runs out by itself."""
    limits = ModelLimits(Limits(rpm=2, rpd=3))
    assert [limits.admit(at, 0) is None for at in (0, 1, 2, 61, 62)] == [True, True, False, True, False]
    over = limits.admit(1000, 0)
    assert over is not None
    assert (over.limit, over.wait) == (3, 85_400)


def test_memory_is_bounded_by_the_window() -> None:
    """Entries that no longer count are dropped."""
    window = SlidingWindow(5, 1)
    for second in range(1000):
        assert take(window, second, 5) == 0
    assert len(window._entries) == 1


def test_requests_run_out_first() -> None:
    """With both limits, the answer names the one that is reached."""
    limits = ModelLimits(Limits(rpm=2, tpm=100))
    assert limits.admit(0, 10) is None
    assert limits.admit(1, 10) is None
    over = limits.admit(2, 10)
    assert over is not None
    assert (over.what, over.limit, over.used, over.wait) == ("requests", 2, 2, 58)


def test_tokens_run_out() -> None:
    """A call waits for the oldest tokens to leave the window; one that is too large waits for ever."""
    limits = ModelLimits(Limits(tpm=100, window=10))
    assert limits.admit(0, 60) is None
    over, never = limits.admit(4, 50), limits.admit(4, 101)
    assert over is not None
    assert never is not None
    assert (("tokens", 6.0), math.inf) == ((over.what, over.wait), never.wait)


@pytest.mark.parametrize(("count_refused", "expected"), [(False, True), (True, False)])
def test_refused_calls_count_only_when_told_to(count_refused: bool, expected: bool) -> None:
    """A service that counts refused calls stays closed to a client that keeps knocking."""
    limits = ModelLimits(Limits(rpm=1, window=10, count_refused=count_refused))
    limits.admit(0, 0)
    limits.admit(9, 0)
    assert expected == (limits.admit(11, 0) is None)


def test_usage_counts_after_the_answer() -> None:
    """Counted by usage, calls are let in until the tokens of finished ones reach the limit."""
    limits = ModelLimits(Limits(tpm=100, window=10, count="actual"))
    assert limits.admit(0, 10**6) is None
    assert limits.admit(1, 10**6) is None
    limits.settle(2, 100)
    over = limits.admit(3, 1)
    assert over is not None
    assert over.wait == 9


def test_headers_tell_what_is_left() -> None:
    """Limit, remainder and time until all is free again, for requests and tokens."""
    limits = ModelLimits(Limits(rpm=10, tpm=1000))
    limits.admit(0, 400)
    assert limits.headers(1) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "59s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "600",
        "x-ratelimit-reset-tokens": "59s",
    }
    assert ModelLimits(Limits()).headers(0) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0172, "18ms"),
        (1, "1s"),
        (8.64, "8.64s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (3661.5, "1h1m1.5s"),
    ],
)
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    """The forms that clients of OpenAI have to read."""
    assert text == go_duration(seconds)
