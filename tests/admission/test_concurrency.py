"""Adaptive concurrency against servers of a hidden capacity, in virtual time."""

from __future__ import annotations

import itertools
import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.concurrency import AdaptiveConcurrency, Result
from batchrun.concurrency.ceiling import Ceiling
from tests.reliability.capacity import (
    BatchingEngine,
    MinuteServer,
    QueueingServer,
    RefusingServer,
    Work,
    by_length,
    constant,
    lognormal,
)
from tests.reliability.course import Course, Weather, drive

_MOST = 512
_SLOTS = [3, 8, 40, 150, 400]
_WORK = {
    "constant": constant(1),
    "lognormal": lognormal(1, 0.5),
    "by length": by_length(100, 0.7, 0.01),
    "slow": constant(5),
}
both_servers = pytest.mark.parametrize("server", [RefusingServer, QueueingServer])
every_capacity = pytest.mark.parametrize("slots", _SLOTS)
every_work = pytest.mark.parametrize("work", _WORK.values(), ids=_WORK.keys())


def auto(most: int = _MOST) -> AdaptiveConcurrency:
    return AdaptiveConcurrency(most)


def tokens(rng: random.Random) -> tuple[float, int]:
    """Answers of 200 tokens, more or less."""
    length = max(1, round(rng.lognormvariate(5.3, 0.7)))
    return length, length


def share_of_time(course: Course, start: float, end: float, low: float, high: float) -> float:
    """For how much of the time the limit was between two numbers."""
    moments = [start, *(at for at, _ in course.limits if start < at < end), end]
    spans = itertools.pairwise(moments)
    return sum(b - a for a, b in spans if low <= course.limit_at((a + b) / 2) <= high) / (end - start)


@both_servers
@every_capacity
@every_work
def test_it_reaches_a_hidden_capacity_within_half_a_minute(
    server: type[RefusingServer], slots: int, work: Work
) -> None:
    """From a start of 20, whatever the server does with what is too much and however long answers are."""
    course = drive(auto(), server(slots), seconds=100, work=work)

    assert course.throughput(30, 100) >= 0.9 * slots


@both_servers
@pytest.mark.parametrize("slots", _SLOTS[1:])
@pytest.mark.parametrize(
    "work", [_WORK["constant"], _WORK["lognormal"], _WORK["by length"]], ids=list(_WORK)[:3]
)
def test_it_follows_a_capacity_down_and_up_again(
    server: type[RefusingServer], slots: int, work: Work
) -> None:
    """A quarter of the capacity for two minutes, then all of it again."""
    low = slots // 4
    resized = {60.0: low, 180.0: slots}
    course = drive(auto(), server(slots), seconds=300, work=work, resized=resized)

    assert course.throughput(90, 180) >= 0.9 * low
    assert course.throughput(225, 300) >= 0.9 * slots
    assert min(course.limits_between(150, 180)) <= (2 * low if low >= 8 else 10)


@every_capacity
def test_refusals_are_followed_down_at_once(slots: int) -> None:
    """Each refused call that was sent after the last cut cuts again: three seconds for a quarter."""
    low = max(1, slots // 4)
    course = drive(auto(), RefusingServer(slots), seconds=70, work=lognormal(1, 0.5), resized={60: low})

    assert course.limit_at(63) <= max(1.05 * low, low + 1)


@every_capacity
@every_work
def test_a_refusing_server_refuses_few_and_the_limit_stays_near_its_capacity(slots: int, work: Work) -> None:
    """At most one call in forty at three slots, one in a hundred from eight on; no swing beyond a cut."""
    course = drive(auto(), RefusingServer(slots), seconds=600, work=work)

    assert course.refused_share(200, 600) <= (0.025 if slots < 8 else 0.01)
    limits = course.limits_between(200, 600)
    assert min(limits) >= int(0.8 * slots)
    assert max(limits) <= max(1.06 * slots, slots + 1)


@pytest.mark.parametrize("slots", [40, 150, 400])
@every_work
def test_a_queueing_server_is_given_a_short_queue(slots: int, work: Work) -> None:
    """Steps up and down are tried and taken back: most of the time at most as many wait as are served."""
    course = drive(auto(), QueueingServer(slots), seconds=600, work=work)

    assert share_of_time(course, 200, 600, 0.9 * slots, 2 * slots) >= 0.8
    assert course.throughput(200, 600) >= 0.93 * slots
    assert min(course.limits_between(200, 600)) >= 0.45 * slots
    assert max(course.limits_between(200, 600)) <= min(_MOST, 4 * slots)


@pytest.mark.parametrize("told", [True, False], ids=["tokens told", "tokens not told"])
@pytest.mark.parametrize("most", [128, 512])
def test_an_engine_that_batches_is_given_more_as_long_as_that_makes_more_tokens(
    most: int, *, told: bool
) -> None:
    """Each call gets slower from the first to the last, all together make more: no queue, no step back."""

    def work(rng: random.Random) -> tuple[float, int | None]:
        length, _ = tokens(rng)
        return length, int(length) if told else None

    engine = BatchingEngine(peak=20_000)
    course = drive(auto(most), engine, seconds=200, work=work)

    assert course.throughput(60, 200) >= 0.85 * engine.tokens_per_second(most)


@both_servers
def test_what_other_limits_hold_back_does_not_let_it_grow(server: type[RefusingServer]) -> None:
    """Two calls a second never use a limit of 20: nothing is learned about more, nor that it is too much."""
    course = drive(auto(), server(3), seconds=600, work=lognormal(1, 0.5), weather=Weather(calls_a_second=2))
    expected = [20] if server is QueueingServer else range(1, 21)

    assert all(limit in expected for limit in course.limits_between(0, 600))


@both_servers
@pytest.mark.parametrize("slots", [3, 40, 400])
def test_random_server_errors_cost_no_throughput(server: type[RefusingServer], slots: int) -> None:
    """One 5xx in fifty freezes nothing: a round must fail by more than one in twenty."""
    weather = Weather(failing=0.02)
    course = drive(auto(), server(slots), seconds=120, work=lognormal(1, 0.5), weather=weather)

    assert course.throughput(30, 120) >= 0.9 * 0.98 * slots


@both_servers
def test_failures_freeze_growth_and_shrink_nothing(server: type[RefusingServer]) -> None:
    """While every second call fails the limit stays where it began."""
    course = drive(auto(), server(400), seconds=60, work=constant(1), weather=Weather(failing=0.5))

    assert set(course.limits_between(0, 60)) == {20}


@pytest.mark.parametrize("pause", [0.0, 1.0, 20.0])
def test_refusals_by_the_minute_are_recovered_from(pause: float) -> None:
    """A server that counts calls a minute refuses all at once; in the next minute its limit is used again."""
    course = drive(
        auto(), MinuteServer(600), seconds=600, work=lognormal(1, 0.5), weather=Weather(pause=pause)
    )

    for minute in range(1, 10):
        assert course.throughput(60 * minute, 60 * minute + 60) >= 9


@both_servers
@pytest.mark.parametrize("during", ["failed", "refused"])
@pytest.mark.parametrize("pause", [0.0, 1.0])
def test_it_comes_back_after_a_long_outage(
    server: type[RefusingServer], during: Result, pause: float
) -> None:
    """Two minutes without an answer, refused down to 1 or not, and a minute later all is as before."""
    weather = Weather(outage=(60, 180), during="refused" if during == "refused" else "failed", pause=pause)
    course = drive(auto(), server(40), seconds=300, work=lognormal(1, 0.5), weather=weather)

    assert course.limit_at(179) == (1 if during == "refused" else course.limit_at(60))
    assert course.throughput(240, 300) >= 0.9 * 40


def refused_together(limiter: AdaptiveConcurrency, calls: int, refused: int) -> None:
    """Calls sent at 0.0, of which so many are refused at 0.1."""
    for call in range(calls):
        limiter.began(0.0, call + 1)
    for _ in range(refused):
        limiter.ended(0.1, 0.0, "refused", None)


def test_calls_sent_before_a_cut_do_not_cut_again() -> None:
    """Two of twenty calls are refused, sent together: one episode. One sent later is the next."""
    limiter = auto()
    refused_together(limiter, 20, 2)
    assert limiter.limit == 16

    limiter.began(0.2, 19)
    limiter.ended(0.3, 0.2, "refused", None)
    assert limiter.limit == 12


@pytest.mark.parametrize(("refused", "limit"), [(1, 16), (4, 16), (10, 10), (17, 3), (20, 1)])
def test_an_episode_shows_how_many_were_taken_and_no_more_are_sent(refused: int, limit: int) -> None:
    """A start far above the capacity costs one episode, and not one for every fifth of the way down."""
    limiter = auto()
    refused_together(limiter, 20, refused)
    assert limiter.limit == limit


def tried_after(ceiling: Ceiling, now: float, taken: int, *, pause: float) -> float:
    """Refuse at `now`, stop for `pause`, and give the seconds until a limit above `taken` comes."""
    limit = ceiling.refused(now, now - 0.1, in_flight=taken, limit=taken + 1) or 0
    round_over = now + pause
    ceiling.began(round_over)
    while limit <= taken:
        round_over += 1.0
        limit = ceiling.round_over(round_over, limit, 512)
    return round_over - now


def test_a_ceiling_is_held_then_tried_by_a_twentieth_each_round_until_it_is_gone() -> None:
    """Back to just below it after one round, held for another, then up; 15% above it there is no ceiling."""
    ceiling = Ceiling()
    limit = ceiling.refused(1.0, 0.9, in_flight=100, limit=110)
    assert limit == 88

    limits, now = [], 1.0
    while ceiling.at is not None:
        now += 1.0
        limit = ceiling.round_over(now, limit or 0, most=512)
        limits.append(limit)
    assert limits == [97, 97, 102, 107, 112, 118]


@pytest.mark.parametrize(("pause", "seconds"), [(0.0, 3), (1.0, 12), (3.0, 36), (20.0, 23)])
def test_a_ceiling_is_tried_the_later_the_longer_a_refusal_stopped_us(pause: float, seconds: float) -> None:
    """Twelve times as long after the first one; a pause of more than five seconds is not about places."""
    assert tried_after(Ceiling(), 1.0, 100, pause=pause) == pytest.approx(seconds, abs=1.01)


def test_a_ceiling_that_is_still_there_is_tried_more_rarely_and_another_one_soon() -> None:
    """24 and then 30 times as long; a refusal at a quarter of it is another ceiling."""
    ceiling = Ceiling()
    waited = [
        tried_after(ceiling, now, taken, pause=1.0)
        for now, taken in [(1.0, 100), (101.0, 100), (201.0, 100), (301.0, 100), (401.0, 25)]
    ]
    assert waited == pytest.approx([12, 24, 30, 30, 12], abs=1.01)


@pytest.mark.parametrize("pause", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("slots", [8, 40, 150])
def test_pauses_after_refusals_cost_little(slots: int, pause: float) -> None:
    """Nothing is sent for so long after each refusal, and calls are short: a tenth at most is lost."""
    weather = Weather(pause=pause)
    course = drive(auto(), RefusingServer(slots), seconds=400, work=constant(0.3), weather=weather)

    assert course.throughput(100, 400) >= 0.9 * slots


@pytest.mark.parametrize("pause", [0.3, 1.0])
def test_a_capacity_that_grows_is_found_although_refusals_stop_us(pause: float) -> None:
    """Half a minute at most until the ceiling is tried again."""
    weather, resized = Weather(pause=pause), {12.0: 10, 200.0: 60}
    course = drive(
        auto(), RefusingServer(40), seconds=300, work=constant(0.3), weather=weather, resized=resized
    )

    assert course.throughput(18, 200) >= 0.9 * 10
    assert course.throughput(240, 300) >= 0.9 * 60


@pytest.mark.parametrize("seconds", [60, 120])
def test_calls_of_minutes_are_hundreds_a_minute_after_the_first_where_limits_are_told(seconds: int) -> None:
    """One that tells its limits refuses at once: no need to wait for answers before more is sent."""
    limiter = auto()
    limiter.limits_told()
    course = drive(limiter, RefusingServer(10**6), seconds=260, work=constant(seconds), proving=True)

    assert course.limit_at(seconds + 35) >= 160
    assert course.limit_at(seconds + 60) == _MOST


def test_calls_of_minutes_stop_growing_at_the_first_refusal() -> None:
    """The overshoot is one doubling, refused at once and taken back."""
    limiter = auto()
    limiter.limits_told()
    course = drive(limiter, RefusingServer(300), seconds=600, work=lognormal(60, 0.4), proving=True)

    assert course.throughput(180, 600) >= 0.85 * 300
    assert course.refused_share(0, 600) <= 0.05


def test_a_server_that_tells_no_limits_is_judged_by_its_answers_alone() -> None:
    """It may let calls queue, so that nothing is known before they are answered."""
    course = drive(auto(), RefusingServer(10**6), seconds=200, work=constant(60), proving=True)

    assert course.limit_at(119) == 20
    assert course.limit_at(175) == 40


@pytest.mark.parametrize("slots", [4, 16])
def test_calls_that_queue_for_minutes_do_not_pile_up(slots: int) -> None:
    """A queue of an hour would be timeouts."""
    course = drive(auto(), QueueingServer(slots), seconds=1800, work=constant(60), proving=True)

    assert max(course.limits_between(0, 1800)) <= 80


def test_growth_by_the_clock_that_ends_in_failures_is_taken_back() -> None:
    """A server that let them queue until they timed out gets what it answered before."""
    limiter = auto()
    limiter.limits_told()
    limiter.began(0.0, 1)
    limiter.ended(60.0, 0.0, "ok", None)
    for call in range(20):
        limiter.began(60.0, call + 1)
    assert [limiter.wait(moment) for moment in (69.0, 70.0, 75.0, 80.0)] == [False, True, False, True]
    assert limiter.limit == 80
    for call in range(20, 80):
        limiter.began(80.0, call + 1)
    for _ in range(80):
        limiter.ended(680.0, 80.0, "failed", None)
    assert limiter.limit == 20
    assert not limiter.wait(1000.0)


def test_calls_that_should_have_been_answered_stop_growth_by_the_clock() -> None:
    """The first took five seconds: ten seconds later twenty others must show what became of them."""
    limiter = auto()
    limiter.limits_told()
    course = drive(limiter, QueueingServer(4), seconds=28, work=constant(5), proving=True)

    assert set(course.limits_between(0, 28)) == {20}


def test_a_failure_stops_growth_by_the_clock() -> None:
    """A server in trouble is sent no more than it has."""
    limiter = auto()
    limiter.limits_told()
    limiter.began(0.0, 1)
    limiter.ended(60.0, 0.0, "ok", None)
    for call in range(20):
        limiter.began(60.0, call + 1)
    limiter.ended(65.0, 60.0, "failed", None)
    limiter.began(65.0, 20)

    assert not limiter.wait(75.0)


def straggling(rng: random.Random) -> tuple[float, None]:
    """One call in 200 takes a hundred times as long."""
    return (100.0 if rng.random() < 0.005 else rng.lognormvariate(0, 0.5)), None


@pytest.mark.parametrize("slots", [40, 150])
def test_stragglers_swing_no_limit(slots: int) -> None:
    """They hold a third of the slots: what is left still is a queue that is not many times as long."""
    course = drive(auto(), QueueingServer(slots), seconds=1200, work=straggling)

    assert course.throughput(150, 1200) >= 0.85 * slots
    assert share_of_time(course, 200, 1200, 0.5 * slots, 3 * slots) >= 0.85
    assert max(course.limits_between(200, 1200)) <= 4 * slots


def test_it_never_passes_the_most() -> None:
    """`max_concurrency` caps the slow start, also below its first number."""
    assert auto(5).limit == 5
    course = drive(auto(50), RefusingServer(10**6), seconds=60, work=constant(1))
    assert max(course.limits_between(0, 60)) == 50


@pytest.mark.parametrize("server", [RefusingServer, QueueingServer])
@pytest.mark.parametrize("slots", [3, 40, 400])
def test_a_resumed_run_starts_near_what_was_learned(server: type[RefusingServer], slots: int) -> None:
    """Through JSON, at 0.8 of it, and is at the capacity within five rounds, without a storm."""
    before = auto()
    drive(before, server(slots), seconds=120, work=lognormal(1, 0.5))
    after = auto()
    after.restore(json.loads(json.dumps(before.snapshot())))

    assert after.limit == max(1, int(0.8 * before.limit))
    course = drive(after, server(slots), seconds=65, work=lognormal(1, 0.5), seed=2)
    assert course.throughput(5, 65) >= 0.9 * slots
    assert sum(moment < 5 for moment in course.refused) <= max(2, slots // 40)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"limit": None},
        {"limit": "400", "ceiling": 3, "rising": True},
        {"limit": float("nan")},
        {"limit": -3, "ceiling": -3},
        {"limit": True},
        [400],
        "400",
        None,
    ],
)
def test_a_state_that_cannot_be_read_was_not_learned(state: object) -> None:
    """Of another version, or torn: the run starts as the first one did."""
    limiter = auto()
    limiter.restore(state)
    assert (limiter.limit, limiter.snapshot()) == (20, auto().snapshot())


@pytest.mark.parametrize(
    "state", [{"limit": 100}, {"limit": 100, "ceiling": "x", "rising": 1}, {"limit": 100, "new": {"a": 1}}]
)
def test_what_can_be_read_of_a_state_is_used(state: object) -> None:
    """Keys that are missing, strange or unknown leave the others be."""
    limiter = auto()
    limiter.restore(state)
    assert limiter.limit == 80
    assert limiter.snapshot() == {"limit": 100, "ceiling": None, "rising": False}, (
        "nothing else is learned yet"
    )


def test_processes_that_learn_nothing_forget_nothing() -> None:
    """Ten submits of one row each start from the same limit, and hand it on."""
    state: object = {"limit": 100, "ceiling": None, "rising": False}
    for moment in range(10):
        limiter = auto()
        limiter.restore(state)
        limiter.began(moment, 1)
        limiter.ended(moment + 0.5, moment, "ok", 5)
        state = limiter.snapshot()
    assert state == {"limit": 100, "ceiling": None, "rising": False}


def test_a_restored_limit_obeys_the_most_of_the_new_run() -> None:
    """The job may have got a smaller max_concurrency in between."""
    limiter = auto(10)
    limiter.restore({"limit": 400, "ceiling": 380, "rising": False})
    assert limiter.limit == 10


_EVENTS = st.lists(
    st.tuples(
        st.floats(0, 100),
        st.sampled_from(["ok", "refused", "failed", "nothing"]),
        st.none() | st.integers(0, 10_000),
        st.integers(1, 40),
    ),
    max_size=200,
)


@settings(max_examples=100, deadline=None)
@given(most=st.integers(1, 100), events=_EVENTS)
def test_whatever_happens_the_limit_is_between_one_and_the_most(
    most: int, events: list[tuple[float, Result, int | None, int]]
) -> None:
    """Answers in any order, of any length, at one instant or far apart, also with zero tokens."""
    limiter, now = auto(most), 0.0
    for seconds, result, output_tokens, repeated in events:
        started = now
        for call in range(min(repeated, limiter.limit)):
            limiter.began(now, call + 1)
        now += seconds
        for _ in range(min(repeated, limiter.limit)):
            limiter.ended(now, started, result, output_tokens)
        assert 1 <= limiter.limit <= most


def test_a_call_costs_microseconds() -> None:
    """Bound generously for a busy machine; about two are measured."""
    limiter, now, calls = auto(100), 0.0, 50_000
    for call in range(100):
        limiter.began(now, call + 1)
    start = time.process_time()
    for _ in range(calls):
        now += 0.01
        limiter.ended(now, now - 1.0, "ok", 100)
        limiter.began(now, 100)

    assert (time.process_time() - start) / calls < 20e-6
