"""Which replica a call goes to: by calls under way, in turns, and around those that fail."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.client.replicas import LONGEST_ASIDE, MOST_FAILURES, Choice, Replicas, Result


def call(replicas: Replicas, now: float, result: Result | None) -> int:
    """One call that ends before the next; the replica it went to."""
    choice = replicas.choose(now)
    replicas.ended(choice, now, result)
    return choice.replica


def fail(replicas: Replicas, at: int, now: float) -> None:
    """Let calls that reach replica `at` find nobody there, and the others work, until it is aside."""
    while not replicas.aside(at):
        choice = replicas.choose(now)
        replicas.ended(choice, now, "unreachable" if choice.replica == at else "ok")


def test_equal_replicas_take_turns() -> None:
    """Calls that follow one another go round."""
    replicas = Replicas(3)
    assert [call(replicas, 0, "ok") for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_calls_side_by_side_are_spread_evenly() -> None:
    """Ten calls under way over three replicas: 4, 3 and 3."""
    replicas = Replicas(3)
    assert sorted(Counter(replicas.choose(0).replica for _ in range(10)).values()) == [3, 3, 4]


def test_a_slow_replica_gets_less() -> None:
    """Each call goes to the one with the fewest under way."""
    replicas = Replicas(2)
    assert replicas.choose(0).replica == 0  # and is still under way
    assert [call(replicas, 0, "ok") for _ in range(5)] == [1, 1, 1, 1, 1]


def test_one_that_cannot_be_reached_is_left_out_at_once() -> None:
    """The row's next attempt goes to another one, and so do all others for a second."""
    replicas = Replicas(3)
    assert call(replicas, 0, "unreachable") == 0
    assert {call(replicas, 0.99, "ok") for _ in range(9)} == {1, 2}


def test_after_its_time_a_single_call_tries_it() -> None:
    """The others wait for what becomes of that one, which brings it back."""
    replicas = Replicas(3)
    call(replicas, 0, "unreachable")
    probe = replicas.choose(1.0)
    assert probe.replica == 0
    assert {call(replicas, 1.0, "ok") for _ in range(9)} == {1, 2}
    replicas.ended(probe, 1.2, "ok")
    assert {call(replicas, 1.2, "ok") for _ in range(9)} == {0, 1, 2}


def test_each_failed_try_doubles_its_time_aside() -> None:
    """From 1 s to 60 s, and from 1 s again after it has served."""
    replicas = Replicas(2)
    now, times = 0.0, []
    fail(replicas, 0, now)
    for _ in range(8):
        times.append(replicas.aside(0))
        now += replicas.aside(0)
        assert call(replicas, now, "unreachable") == 0
    assert times == [1, 2, 4, 8, 16, 32, 60, 60]
    now += LONGEST_ASIDE
    assert call(replicas, now, "ok") == 0
    fail(replicas, 0, now)
    assert replicas.aside(0) == 1


@pytest.mark.parametrize("results", [["failed"] * (MOST_FAILURES - 1), ["failed", "ok"] * 5])
def test_some_failures_do_not_put_it_aside(results: list[Result]) -> None:
    """Resets, timeouts and 503s count in a row only."""
    replicas = Replicas(1)
    for result in results:
        call(replicas, 0, result)
    assert replicas.aside(0) == 0


def test_failures_in_a_row_put_it_aside() -> None:
    """A server that is up but does not serve is left out, too."""
    replicas = Replicas(2)
    for _ in range(2 * MOST_FAILURES):
        choice = replicas.choose(0)
        replicas.ended(choice, 0, "failed" if choice.replica == 0 else "ok")
    assert (replicas.aside(0), replicas.aside(1)) == (1, 0)


def test_calls_that_fail_together_count_once() -> None:
    """A replica dies with fifty calls under way: it is aside for 1 s, not for 60."""
    replicas = Replicas(2)
    choices = [replicas.choose(0) for _ in range(100)]
    for choice in choices:
        replicas.ended(choice, 0.5, "unreachable" if choice.replica == 0 else "ok")
    assert replicas.aside(0) == 1


def test_a_late_answer_does_not_bring_it_back() -> None:
    """A server that ends finishes what it has; it takes nothing new."""
    replicas = Replicas(2)
    early = [replicas.choose(0) for _ in range(2)]
    fail(replicas, 0, 0)
    replicas.ended(next(choice for choice in early if choice.replica == 0), 0.5, "ok")
    assert replicas.aside(0) == 1


def test_a_cancelled_try_says_nothing() -> None:
    """The next call tries in its place."""
    replicas = Replicas(2)
    fail(replicas, 0, 0)
    assert call(replicas, 1, None) == 0
    assert replicas.aside(0) == 1
    assert call(replicas, 1, "ok") == 0


def test_where_all_are_aside_the_one_due_first_is_used() -> None:
    """A run goes on asking: the endpoint as a whole is somebody else's to judge."""
    replicas = Replicas(3)
    for now in (0.0, 0.1, 0.2):
        call(replicas, now, "unreachable")
    assert [call(replicas, 0.3, "unreachable") for _ in range(3)] == [0, 1, 2]
    assert call(replicas, 0.4, "ok") == 0
    assert call(replicas, 0.4, "ok") == 0


def test_where_all_are_aside_calls_are_spread() -> None:
    """A burst does not meet at the one that is due first."""
    replicas = Replicas(3)
    for now in (0.0, 0.1, 0.2):
        call(replicas, now, "unreachable")
    assert sorted(Counter(replicas.choose(0.3).replica for _ in range(9)).values()) == [3, 3, 3]


@given(
    count=st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.floats(0, 5), st.booleans(), st.sampled_from(["ok", "failed", "unreachable", None])),
        max_size=60,
    ),
)
def test_whatever_happens_there_is_a_replica_and_one_try_at_a_time(
    count: int, steps: list[tuple[float, bool, Result | None]]
) -> None:
    """While another one serves, no second call goes to one that is being tried."""
    replicas, now = Replicas(count), 0.0
    open_calls: list[Choice] = []
    for pause, begins, result in steps:
        now += pause
        if begins or not open_calls:
            serving = any(not replicas.aside(at) for at in range(count))
            choice = replicas.choose(now)
            assert 0 <= choice.replica < count
            if serving and replicas.aside(choice.replica):
                assert choice not in open_calls
            open_calls.append(choice)
        else:
            replicas.ended(open_calls.pop(0), now, result)
        assert all(replicas.aside(at) <= LONGEST_ASIDE for at in range(count))
