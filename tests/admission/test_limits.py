"""The rate windows, judged by a server with windows of its own on a simulated clock."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.limits import Limits, RateLimits, Size
from batchrun.limits.headers import Stated
from batchrun.limits.stretch import Stretch
from tests.pacing import Count, Prompt, Server, drive, ideal, prompts

TPW = 20_000
"""Tokens that the servers take in a window."""
WINDOWS = 40
SHAPES = ["small", "large", "mixed"]


def tokens(amount: int) -> Size:
    return Size(amount, amount)


def network(seed: int, low: float = 0.001, high: float = 0.005) -> Callable[[], float]:
    rng = random.Random(seed)
    return lambda: rng.uniform(low, high)


def lognormal(median: float, seed: int = 3) -> Callable[[], float]:
    rng = random.Random(seed)
    return lambda: rng.lognormvariate(0, 0.4) * median


def limits_of(server: Server, *, discovered: bool) -> Limits:
    """The job's own limits for a server; nothing where they are to be discovered."""
    if discovered:
        return Limits()
    per_minute = 60 / server.window
    return Limits(
        rpm=round(server.rpw * per_minute) if server.rpw else None,
        tpm=round(server.tpw * per_minute) if server.tpw else None,
        window=server.window,
        count=server.count,
    )


def paced(
    server: Server, sent: list[Prompt], seconds: float, generation: float, *, discovered: bool, kill: bool
) -> list[float]:
    """Drive the server, with `kill` by two clients in turn; the refusals of calls sent after an answer."""
    limits = RateLimits(limits_of(server, discovered=discovered))
    server.silent = not discovered
    way: dict[str, Any] = {"delay": network(3), "generation": lognormal(generation)}
    first = drive(limits, server, sent, seconds=seconds / 2 if kill else seconds, **way)
    assert first.first_answer is not None
    if kill:
        saved = json.loads(json.dumps(limits.snapshot(first.now, 5e8 + first.now)))
        again = RateLimits(limits_of(server, discovered=discovered))
        again.restore(first.now, 5e8 + first.now, saved)
        rest = sent[len(first.sent) :]
        second = drive(again, server, rest, seconds=seconds / 2, start=first.now, first=512, **way)
        first.refused += second.refused
    return [at for at in first.refused if at > first.first_answer]


@pytest.mark.parametrize("kill", [False, True], ids=["", "killed"])
@pytest.mark.parametrize("count", ["asked", "used"])
@pytest.mark.parametrize("discovered", [False, True], ids=["given", "discovered"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("window", [1.0, 10.0, 60.0])
def test_no_refusal_and_95_percent_of_the_ideal(
    window: float, shape: str, discovered: bool, count: Count, kill: bool
) -> None:
    """Once a limit is known nothing is refused, and at least 95% of what a perfect packer sends is sent."""
    server = Server(tpw=TPW, window=window, count=count)
    sent = prompts(shape, 12_000 if shape == "small" else 4_000, TPW)
    generation = 0.3 if count == "asked" else 0.02 * window

    refused = paced(server, sent, WINDOWS * window, generation, discovered=discovered, kill=kill)

    assert refused == []
    assert server.accepted >= 0.95 * ideal(server, sent, WINDOWS * window)[1]


@pytest.mark.long
@pytest.mark.parametrize("generation", [0.0, 0.5, 40.0], ids="generation {} s".format)
@pytest.mark.parametrize(("rpw", "window"), [(3, 60.0), (60, 60.0), (600, 60.0), (6000, 60.0), (50, 1.0)])
def test_requests_are_never_refused_and_the_limit_is_used(rpw: int, window: float, generation: float) -> None:
    """The same for requests, however long the answers take."""
    server = Server(rpw=rpw, window=window)
    seconds = window * (120 if rpw < 1000 else 20)
    sent = [Prompt(0, 0, 0)] * int(rpw * seconds / window + 600)

    done = drive(
        RateLimits(limits_of(server, discovered=False)),
        server,
        sent,
        delay=network(1, 0.0, 0.01),
        generation=lambda: generation,
        seconds=seconds,
        first=10**6,
        most=10**6,
    )

    assert server.refused == []
    assert sum(at < seconds for at in done.sent) >= 0.95 * rpw * seconds / window


@pytest.mark.parametrize("rpm", [60, 600, 6000])
def test_a_minute_has_no_bursts(rpm: int) -> None:
    """A server that judges 10 s by a sixth of the limit, or 1 s by a sixtieth, refuses nothing either."""
    for window in (10.0, 1.0):
        server = Server(rpw=round(rpm * window / 60), window=window, silent=True)
        sent = [Prompt(0, 0, 0)] * rpm * 3
        drive(RateLimits(Limits(rpm=rpm)), server, sent, delay=network(rpm, 0, 0.01), seconds=120)
        assert server.refused == []
        assert server.calls >= 0.9 * rpm


@settings(max_examples=50, deadline=None)
@given(
    rpm=st.integers(1, 200),
    tpm=st.integers(100, 5000),
    seed=st.integers(0, 2**32),
    longest=st.floats(0, 0.99),
    generation=st.floats(0, 5),
)
def test_both_limits_hold_for_any_sizes(
    rpm: int, tpm: int, seed: int, longest: float, generation: float
) -> None:
    """Whatever the limits, sizes and delays below a second, a server that counts both refuses nothing."""
    rng = random.Random(seed)
    sizes = [rng.randint(0, min(tpm, 1000)) for _ in range(600)]
    server = Server(rpw=rpm, tpw=tpm, silent=True)
    drive(
        RateLimits(Limits(rpm=rpm, tpm=tpm)),
        server,
        [Prompt(size, size, size) for size in sizes],
        delay=lambda: rng.uniform(0, longest),
        generation=lambda: generation,
        seconds=150,
    )
    assert server.refused == []


@pytest.mark.parametrize("count", ["asked", "used"])
@pytest.mark.parametrize(
    ("bucket", "coarse", "window"),
    [(True, False, 1.0), (True, False, 60.0), (True, True, 10.0), (False, True, 1.0), (False, True, 60.0)],
)
def test_every_kind_of_reset_is_understood(bucket: bool, coarse: bool, window: float, count: Count) -> None:
    """Sliding logs and token buckets, with resets in milliseconds or whole seconds: the stretch is found."""
    server = Server(tpw=TPW, window=window, count=count, bucket=bucket, coarse=coarse)
    sent = prompts("small", 12_000, TPW)

    refused = paced(server, sent, WINDOWS * window, 0.02 * window, discovered=True, kill=False)

    assert refused == []
    assert server.accepted >= 0.95 * ideal(server, sent, WINDOWS * window)[1]


def test_a_prompt_above_the_whole_limit_goes_alone() -> None:
    """It counts as the whole limit: it waits for an empty window, goes, and the next waits for its end."""
    limits = RateLimits(Limits(tpm=100))
    limits.settle(limits.charge(0.0, tokens(50)), 0.0, None)

    wait = limits.delay(0.0, tokens(1000))
    assert wait == pytest.approx(60, abs=0.01)
    limits.settle(limits.charge(wait, tokens(1000)), wait, None)
    assert limits.delay(wait, tokens(1)) == pytest.approx(60, abs=0.01)
    assert limits.delay(wait + 60.01, tokens(1000)) == 0


def test_a_prompt_that_the_server_will_never_take_holds_nobody_up() -> None:
    """Above what the server itself says to take in all, no waiting helps; the job's own word is kept to."""
    said = Stated("tokens", 100, 60, 59.0, None)
    for job, waits in ((Limits(), False), (Limits(tpm=100), True)):
        limits = RateLimits(job)
        charge = limits.charge(0.0, tokens(40))
        limits.settle(charge, 0.1, 40)
        limits.told(charge, 0.1, (said,))
        assert (limits.delay(1.0, tokens(200)) > 0) is waits
        assert limits.delay(1.0, tokens(110)) > 0  # by an estimate that may be too large


def test_a_call_weighs_until_a_minute_after_its_answer() -> None:
    """The server may have counted it as late as that; an answer is waited for at most a second."""
    quick, slow = RateLimits(Limits(rpm=1)), RateLimits(Limits(rpm=1))
    quick.settle(quick.charge(0.0, tokens(0)), 0.4, None)
    slow.charge(0.0, tokens(0))

    assert quick.delay(0.4, tokens(0)) == pytest.approx(60, abs=0.01)
    assert slow.delay(0.4, tokens(0)) == pytest.approx(60.6, abs=0.01)


def test_where_the_asked_counts_settling_raises_and_never_lowers() -> None:
    """More tokens than reserved weigh from the answer on; fewer give nothing back."""
    limits = RateLimits(Limits(tpm=1000, count="asked"))
    first = limits.charge(0.0, tokens(100))
    limits.settle(first, 0.0, 10)
    assert limits.delay(20.0, tokens(901)) > 0
    limits.settle(first, 20.0, 600)
    limits.settle(first, 20.0, 600)

    assert limits.delay(35.0, tokens(400)) == 0
    assert limits.delay(35.0, tokens(401)) == pytest.approx(25, abs=0.1)
    assert limits.delay(61.0, tokens(500)) == 0
    assert limits.delay(61.0, tokens(501)) == pytest.approx(19, abs=0.1)


def test_where_the_used_counts_settling_gives_back() -> None:
    """What was reserved too much is free as soon as the answer says so."""
    limits = RateLimits(Limits(tpm=1000, count="used"))
    charge = limits.charge(0.0, Size(900, 900))
    assert limits.delay(15.0, tokens(500)) > 0
    limits.settle(charge, 15.0, 90)
    assert limits.delay(30.0, tokens(500)) == 0


def test_without_limits_nothing_waits() -> None:
    """No limit is known: nothing is held back."""
    limits = RateLimits(Limits())
    for _ in range(100):
        limits.charge(0.0, tokens(10**9))
    assert limits.delay(0.0, tokens(10**9)) == 0


def said(unit: Any, limit: int, remaining: int, reset: float, window: float | None = None) -> Stated:
    return Stated(unit, limit, remaining, reset, window)


def test_the_smaller_limit_holds() -> None:
    """The job's numbers are caps; the server's may drop for hours and come back."""
    limits, now = RateLimits(Limits(rpm=100)), 0.0
    for stated, free in ((1000, True), (1, False), (1000, True)):
        now += 2
        charge = limits.charge(now, tokens(1))
        limits.settle(charge, now, 1)
        limits.told(charge, now, (said("requests", stated, max(0, stated - 5), 59.99, 60.0),))
        assert (limits.delay(now + 1.5, tokens(1)) == 0) is free


def test_what_others_use_of_the_limit_is_theirs() -> None:
    """Where less remains than our calls explain, the rest is held back for a window."""
    limits = RateLimits(Limits())
    charge = limits.charge(0.0, tokens(10))
    limits.settle(charge, 0.1, 10)
    limits.told(charge, 0.1, (said("tokens", 1000, 90, 59.9, 60.0),))

    assert limits.delay(15.0, tokens(90)) == 0
    assert limits.delay(15.0, tokens(91)) > 0
    assert limits.delay(62.0, tokens(1000)) == 0


def test_a_day_is_a_stock_that_comes_back() -> None:
    """A limit over a day holds what remains until its reset, across processes too."""
    limits = RateLimits(Limits())
    charge = limits.charge(0.0, tokens(10))
    limits.settle(charge, 1.0, 10)
    limits.told(charge, 1.0, (said("requests", 1000, 1, 3600.0, 86_400.0),))
    assert limits.delay(1.0, tokens(1)) == 0
    limits.charge(1.0, tokens(1))
    assert limits.delay(2.0, tokens(1)) == pytest.approx(3599)

    later = RateLimits(Limits())
    later.restore(50.0, 1100.0, json.loads(json.dumps(limits.snapshot(2.0, 1000.0))))
    assert later.delay(50.0, tokens(1)) == pytest.approx(3499)
    assert later.delay(3600.0, tokens(1)) == 0


@pytest.mark.parametrize("kind", ["rpm", "tpm"])
def test_a_restored_window_waits_as_if_it_had_never_stopped(kind: str) -> None:
    """What the last minute sent is charged again, on another clock, as answered at the latest."""
    given = Limits(rpm=6) if kind == "rpm" else Limits(tpm=600)
    before, now = RateLimits(given), 1000.0
    for _ in range(6):
        while (wait := before.delay(now, tokens(100))) > 0:
            now += wait + 1e-6
        before.charge(now, tokens(100))

    after = RateLimits(given)
    after.restore(7.0, 5e8 + 2, before.snapshot(now, 5e8))

    assert after.delay(7.0, tokens(100)) == pytest.approx(before.delay(now + 2, tokens(100)), abs=0.11)


def test_recalled_calls_weigh_like_those_of_a_snapshot() -> None:
    """After a kill the journal tells what was sent; the old is left out, the future counts as now."""
    limits = RateLimits(Limits(rpm=2))
    for sent_at in (900.0, 990.0, 5000.0):
        limits.recall(0.0, 1000.0, sent_at, 1)

    assert 50 < limits.delay(0.0, tokens(1)) <= 61.01
    assert limits.delay(61.02, tokens(1)) == 0


def test_memory_is_that_of_a_minute_whatever_the_rate() -> None:
    """A hundred thousand calls a minute are held as moments, not as calls, and saved as fewer."""
    limits, now = RateLimits(Limits()), 0.0
    for _ in range(200_000):
        now += 0.0006
        limits.settle(limits.charge(now, tokens(10)), now, 5)
    saved = limits.snapshot(now, now)
    assert len(saved["sent"]) <= 700
    assert sum(row[1] for row in saved["sent"]) == pytest.approx(61.6 / 0.0006, rel=0.01)


@pytest.mark.parametrize("bucket", [False, True], ids=["log", "bucket"])
@pytest.mark.parametrize(("rpw", "tpw"), [(50, None), (50, 20_000), (200, 20_000)])
@pytest.mark.parametrize("window", [1.0, 10.0, 60.0])
def test_requests_are_discovered_too(window: float, rpw: int, tpw: int | None, bucket: bool) -> None:
    """Requests alone, or whichever of requests and tokens binds: found in the headers, and kept."""
    server = Server(rpw=rpw, tpw=tpw, window=window, bucket=bucket)
    sent = prompts("small", 5_000, 20_000)

    generation = 0.02 * window if bucket else 0.3
    refused = paced(server, sent, WINDOWS * window, generation, discovered=True, kill=True)

    assert refused == []
    assert server.accepted >= 0.95 * ideal(server, sent, WINDOWS * window)[1]


@pytest.mark.parametrize("window", [1.0, 10.0])
def test_slow_answers_do_not_hide_a_short_window(window: float) -> None:
    """Where all that was used has come back before the answer says so, the run still finds its rate."""
    server = Server(rpw=50, window=window, bucket=True)
    sent = [Prompt(1, 1, 1)] * 20_000
    limits = RateLimits(Limits())
    way: dict[str, Any] = {"delay": network(3), "generation": lognormal(2 * window)}
    learning = drive(limits, server, sent, seconds=60 * window, **way)
    before = server.calls

    drive(limits, server, sent, start=learning.now, seconds=20 * window, first=512, **way)

    assert learning.refused == []
    assert server.calls - before >= 0.9 * 50 * 20


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("window", [1.0, 10.0, 60.0])
def test_headers_that_do_not_know_yet_what_a_call_uses_tell_enough(window: float, shape: str) -> None:
    """A server that counts what was used, and writes its headers before: no standstill, no refusal.

    Few calls fit the limit by what they ask for, so at most a minute passes before the first of them can tell
    how soon what they used is free again.
    """
    server = Server(tpw=TPW, window=window, count="used", early=True)
    sent = [Prompt(one.asked, one.asked, one.asked // 4) for one in prompts(shape, 60_000, TPW)]
    limits = RateLimits(Limits())
    way: dict[str, Any] = {"delay": network(3), "generation": lognormal(0.1 * min(window, 1))}
    learning = drive(limits, server, sent, seconds=70 + 2 * window, **way)
    before, rest = server.accepted, sent[len(learning.sent) :]

    known = drive(limits, server, rest, start=learning.now, seconds=20 * window, first=512, **way)

    assert [at for at in learning.refused if at > (learning.first_answer or 0)] == known.refused == []
    # one call's worth stays free, as it may be counted any moment
    assert server.accepted - before >= 0.92 * TPW * 20


def test_a_refusal_takes_back_what_was_assumed() -> None:
    """A stretch that was shortened is the first one again, and is harder to doubt from then on."""
    stretch = Stretch(60.0)
    for now in range(5):
        stretch.doubted(now, contradicts=True)
    assert stretch.seconds == 20.0
    stretch.refused(5.0)
    assert stretch.seconds == 60.0
    for now in range(6, 25):
        stretch.doubted(now, contradicts=True)
    assert stretch.seconds == 60.0
    stretch.doubted(25.0, contradicts=True)
    assert stretch.seconds == 20.0


def test_one_answer_that_agrees_ends_the_doubt() -> None:
    """Only a row of contradictions counts."""
    stretch = Stretch(60.0)
    for contradicts in (True, True, True, True, False, True, True, True, True):
        stretch.doubted(1.0, contradicts=contradicts)
    assert stretch.seconds == 60.0
