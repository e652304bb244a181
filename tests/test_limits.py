"""The rate windows, judged by a server with a sliding window of its own on a simulated clock."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.limits import RateLimits


@dataclass
class Server:
    """Counts what arrives within the last `window` seconds and refuses what is above `limit`."""

    limit: float
    window: float = 60.0
    refused: int = 0
    accepted: int = 0
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, now: float, amount: int) -> None:
        while self.recent and self.recent[0][0] <= now - self.window:
            self.recent.popleft()
        if sum(a for _, a in self.recent) + amount > self.limit:
            self.refused += 1
            return
        self.accepted += amount
        self.recent.append((now, amount))


@dataclass
class FastServer(Server):
    """The same with a running sum."""

    used: int = 0

    def take(self, now: float, amount: int) -> None:
        while self.recent and self.recent[0][0] <= now - self.window:
            self.used -= self.recent.popleft()[1]
        if self.used + amount > self.limit:
            self.refused += 1
            return
        self.used += amount
        self.accepted += amount
        self.recent.append((now, amount))


def drive(
    limits: RateLimits,
    *,
    seconds: float,
    tokens: Callable[[], int],
    delay: Callable[[], float],
    generation: Callable[[], float],
    servers: list[tuple[Server, str]],
    start: float = 0.0,
) -> None:
    """Send as fast as `limits` lets, for `seconds`; each call reaches the servers `delay` later.

    Arrivals are given to the servers in the order of arrival, answers settle their charges in time.
    """
    now = start
    order = 0
    arrivals: list[tuple[float, int, int]] = []
    answers: list[tuple[float, int, object, int]] = []
    while now < start + seconds:
        size = tokens()
        while (wait := limits.delay(now, size)) > 0:
            now += wait + 1e-6
            while answers and answers[0][0] <= now:
                at, _, charge, used = heapq.heappop(answers)
                limits.settle(charge, at, used)  # type: ignore[arg-type] # a Charge; heap entries are mixed
        charge = limits.charge(now, size)
        order += 1
        arrives = now + delay()
        heapq.heappush(arrivals, (arrives, order, size))
        heapq.heappush(answers, (arrives + generation() + delay(), order, charge, size))
        while arrivals and arrivals[0][0] <= now:
            deliver(heapq.heappop(arrivals), servers)
    while arrivals:
        deliver(heapq.heappop(arrivals), servers)


def deliver(arrival: tuple[float, int, int], servers: list[tuple[Server, str]]) -> None:
    at, _, size = arrival
    for server, unit in servers:
        server.take(at, 1 if unit == "requests" else size)


@pytest.mark.parametrize("generation", [0.0, 0.5, 40.0], ids="generation {} s".format)
@pytest.mark.parametrize(("rpm", "seconds"), [(3, 7200), (60, 1800), (600, 600), (6000, 300)])
def test_requests_are_never_refused_and_the_limit_is_used(
    rpm: int, seconds: float, generation: float
) -> None:
    """With network delays of 0 to 0.3 s each way: no refusal over 60 s, and at least 95% of the limit."""
    rng = random.Random(rpm)
    server = FastServer(rpm)

    drive(
        RateLimits(rpm=rpm),
        seconds=seconds,
        tokens=lambda: 0,
        delay=lambda: rng.uniform(0, 0.3),
        generation=lambda: generation,
        servers=[(server, "requests")],
    )

    assert server.refused == 0
    assert server.accepted >= 0.95 * rpm * seconds / 60


@pytest.mark.parametrize("rpm", [60, 600, 6000])
def test_no_burst_over_shorter_windows(rpm: int) -> None:
    """A server that judges 10 s by a sixth of the limit, or 1 s by a sixtieth, refuses nothing either."""
    rng = random.Random(rpm)
    ten, one = FastServer(rpm / 6, 10), FastServer(rpm / 60, 1)

    drive(
        RateLimits(rpm=rpm),
        seconds=300,
        tokens=lambda: 0,
        delay=lambda: rng.uniform(0, 0.01),
        generation=lambda: 0.5,
        servers=[(ten, "requests"), (one, "requests")],
    )

    assert (ten.refused, one.refused) == (0, 0)


def mixed(rng: random.Random) -> int:
    return rng.choice([10, 200, 600, 600, 1500, 4000])


def even(_: random.Random) -> int:
    return 700


def skewed(rng: random.Random) -> int:
    """Mostly small, and one in 200 far above the share of a second and of ten."""
    return 25_000 if rng.random() < 0.005 else 300


def ideal(limit: int, seconds: float, tokens: Callable[[], int]) -> int:
    """What strict FIFO gets through when the server counts at once: large prompts leave gaps even then."""
    now, used, total = 0.0, 0, 0
    recent: deque[tuple[float, int]] = deque()
    while now < seconds:
        size = tokens()
        while used + size > limit:
            at, freed = recent.popleft()
            now, used = max(now, at + 60), used - freed
        recent.append((now, size))
        used, total = used + size, total + size
    return total


@pytest.mark.parametrize("shape", [mixed, even, skewed])
@pytest.mark.parametrize("generation", [0.0, 20.0], ids="generation {} s".format)
def test_tokens_are_never_refused_and_the_limit_is_used(
    shape: Callable[[random.Random], int], generation: float
) -> None:
    """Tokens per minute hold like requests, also for sizes far above the share of a short window."""
    tpm, seconds = 100_000, 7200
    rng = random.Random(7)
    best = ideal(tpm, seconds, lambda: shape(rng))
    rng = random.Random(7)
    server = FastServer(tpm)

    drive(
        RateLimits(tpm=tpm),
        seconds=seconds,
        tokens=lambda: shape(rng),
        delay=lambda: rng.uniform(0, 0.3),
        generation=lambda: generation,
        servers=[(server, "tokens")],
    )

    assert server.refused == 0
    assert server.accepted >= 0.95 * best


@settings(max_examples=60, deadline=None)
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
    requests, tokens = Server(rpm), Server(tpm)

    drive(
        RateLimits(rpm=rpm, tpm=tpm),
        seconds=150,
        tokens=lambda: rng.randint(0, min(tpm, 1000)),
        delay=lambda: rng.uniform(0, longest),
        generation=lambda: generation,
        servers=[(requests, "requests"), (tokens, "tokens")],
    )

    assert (requests.refused, tokens.refused) == (0, 0)


def test_a_prompt_above_the_whole_limit_goes_alone() -> None:
    """It counts as the whole limit: it waits for an empty window, goes, and the next waits for its end."""
    limits = RateLimits(tpm=100)
    limits.settle(limits.charge(0.0, 50), 0.0)

    wait = limits.delay(0.0, 1000)
    assert wait == pytest.approx(60, abs=0.01)
    limits.settle(limits.charge(wait, 1000), wait)
    assert limits.delay(wait, 1) == pytest.approx(60, abs=0.01)
    assert limits.delay(wait + 60.01, 1000) == 0


def test_a_call_weighs_until_a_minute_after_its_answer() -> None:
    """The server may have counted it as late as that; an answer is waited for at most a second."""
    quick, slow = RateLimits(rpm=1), RateLimits(rpm=1)
    quick.settle(quick.charge(0.0, 0), 0.4)
    slow.charge(0.0, 0)

    assert quick.delay(0.4, 0) == pytest.approx(60, abs=0.01)
    assert slow.delay(0.4, 0) == pytest.approx(60.6, abs=0.01)


def test_settling_raises_and_never_lowers() -> None:
    """More tokens than reserved weigh from the answer on; fewer give nothing back."""
    limits = RateLimits(tpm=1000)
    first = limits.charge(0.0, 100)
    limits.settle(first, 0.0, 10)
    assert limits.delay(20.0, 901) > 0
    limits.settle(first, 20.0, 600)
    limits.settle(first, 20.0, 600)

    assert limits.delay(35.0, 400) == 0
    assert limits.delay(35.0, 401) == pytest.approx(25, abs=0.1)
    assert limits.delay(61.0, 500) == 0
    assert limits.delay(61.0, 501) == pytest.approx(19, abs=0.1)


def test_without_limits_nothing_waits() -> None:
    """No limit, no window, no memory."""
    limits = RateLimits()
    for _ in range(100):
        limits.charge(0.0, 10**9)
    assert limits.delay(0.0, 10**9) == 0
    assert limits.snapshot(0.0, 0.0) == []


@pytest.mark.parametrize("kind", ["rpm", "tpm"])
def test_a_restored_window_waits_as_if_it_had_never_stopped(kind: str) -> None:
    """What the last minute sent is charged again, on another clock, as answered at the latest."""
    before = RateLimits(rpm=6) if kind == "rpm" else RateLimits(tpm=600)
    now = 1000.0
    for _ in range(6):
        while (wait := before.delay(now, 100)) > 0:
            now += wait + 1e-6
        before.charge(now, 100)
    sent = before.snapshot(now, wall=5e8)

    after = RateLimits(rpm=6) if kind == "rpm" else RateLimits(tpm=600)
    after.restore(7.0, wall=5e8 + 2, sent=sent)

    assert len(sent) == 6
    assert after.delay(7.0, 100) == pytest.approx(before.delay(now + 2, 100), abs=1e-3)


def test_restoring_leaves_out_what_is_old_and_takes_the_future_as_now() -> None:
    """A clock that was set back must not make calls wait for longer than a minute."""
    limits = RateLimits(rpm=2)
    limits.restore(0.0, wall=1000.0, sent=[(900.0, 1), (5000.0, 1), (990.0, 1)])

    assert len(limits.snapshot(0.0, 1000.0)) == 2
    assert 0 < limits.delay(0.0, 1) <= 61.01


def test_memory_and_time_are_those_of_one_minute() -> None:
    """After many minutes no more charges are held than the window's limit."""
    limits, now = RateLimits(rpm=600), 0.0
    for _ in range(6000):
        now += limits.delay(now, 0) + 1e-6
        limits.charge(now, 0)
    assert len(limits.snapshot(now, now)) <= 600
    assert math.isclose(now, 600, rel_tol=0.05)
