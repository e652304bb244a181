"""A rate-limited server, and a client that is paced by `RateLimits`, in discrete events without sockets.

Server      counts in a sliding window or a token bucket, what is asked for or what is used
drive()     sends prompts in order, as fast as the limits let
ideal()     when a perfect packer with the same prompts, in the same order, would have sent the last
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from batchrun.limits import Charge, RateLimits, Size
from batchrun.limits.headers import Stated

Count = Literal["asked", "used"]


class Prompt(NamedTuple):
    """One call: what it asks for, what is expected of it, what it will use."""

    asked: int
    expected: int
    used: int


@dataclass
class Meter:
    """What a server counts of one kind: over a sliding window, or as a bucket that refills."""

    limit: int
    window: float
    bucket: bool = False
    used: float = 0
    at: float = 0.0
    entries: deque[tuple[float, int]] = field(default_factory=deque)

    def level(self, now: float) -> float:
        if self.bucket:
            self.used = max(0.0, self.used - (now - self.at) * self.limit / self.window)
        while self.entries and self.entries[0][0] <= now - self.window:
            self.used -= self.entries.popleft()[1]
        self.at = now
        return self.used

    def add(self, now: float, amount: int) -> None:
        self.level(now)
        self.used += amount
        if not self.bucket:
            self.entries.append((now, amount))

    def reset(self, now: float) -> float:
        if self.bucket:
            return self.level(now) * self.window / self.limit
        self.level(now)
        return self.entries[-1][0] + self.window - now if self.entries else 0.0


@dataclass
class Server:
    """Admits calls by their requests and tokens, and says in its headers where it stands."""

    rpw: int | None = None
    tpw: int | None = None
    window: float = 60.0
    count: Count = "asked"
    bucket: bool = False
    coarse: bool = False
    """Resets in whole seconds."""
    silent: bool = False
    """No headers."""
    early: bool = False
    """Headers are written when the call arrives, without what it will use."""
    refused: list[float] = field(default_factory=list)
    accepted: int = 0
    calls: int = 0

    def __post_init__(self) -> None:
        self.requests = Meter(self.rpw, self.window, self.bucket) if self.rpw else None
        self.tokens = Meter(self.tpw, self.window, self.bucket) if self.tpw else None

    def arrive(self, now: float, prompt: Prompt) -> bool:
        """Whether the call is let in; counted then, or at `finish` where used tokens count."""
        need = prompt.asked if self.count == "asked" else 1
        fits = self.requests is None or self.requests.level(now) + 1 <= self.requests.limit + 1e-6
        if self.tokens is not None:
            fits = fits and self.tokens.level(now) + need <= self.tokens.limit + 1e-6
        if not fits:
            self.refused.append(now)
            return False
        self.calls += 1
        if self.requests:
            self.requests.add(now, 1)
        if self.tokens and self.count == "asked":
            self.tokens.add(now, prompt.asked)
        self.accepted += prompt.asked if self.count == "asked" else prompt.used
        return True

    def finish(self, now: float, prompt: Prompt) -> None:
        if self.tokens and self.count == "used":
            self.tokens.add(now, prompt.used)

    def headers(self, now: float) -> tuple[Stated, ...]:
        if self.silent:
            return ()
        found = []
        for unit, meter in (("requests", self.requests), ("tokens", self.tokens)):
            if meter is not None:
                reset = meter.reset(now)
                reset = float(-(-reset // 1)) if self.coarse else -(-reset * 1000 // 1) / 1000
                left = max(0, int(meter.limit - meter.level(now)))
                found.append(Stated(unit, meter.limit, left, reset, None))  # type: ignore[arg-type] # a Unit
        return tuple(found)


@dataclass
class Drive:
    """What a client did."""

    sent: list[float] = field(default_factory=list)
    now: float = 0.0
    first_answer: float | None = None
    refused: list[float] = field(default_factory=list)
    """When the calls that were refused had been sent."""


def drive(
    limits: RateLimits,
    server: Server,
    prompts: Sequence[Prompt],
    *,
    delay: Callable[[], float] = lambda: 0.001,
    generation: Callable[[], float] = lambda: 0.1,
    start: float = 0.0,
    seconds: float = float("inf"),
    first: int = 20,
    most: int = 512,
) -> Drive:
    """Send `prompts` in order, `first` at once until an answer came; ends after them, or after `seconds`.

    Calls under way at the end are never settled: the client was killed.
    """
    done, order = Drive(now=start), itertools.count()
    events: list[tuple[float, int, str, Any, Any]] = []
    waiting, in_flight = deque(prompts), 0
    while (waiting or events) and done.now < start + seconds:
        while waiting and in_flight < (first if done.first_answer is None else most):
            size = Size(waiting[0].asked, waiting[0].expected)
            wait = limits.delay(done.now, size)
            if wait > 0:
                break
            prompt, in_flight = waiting.popleft(), in_flight + 1
            done.sent.append(done.now)
            charge = limits.charge(done.now, size)
            heapq.heappush(events, (done.now + delay(), next(order), "arrive", prompt, charge))
        else:
            wait = float("inf")
        at = done.now + wait + 1e-6
        if not events or at < events[0][0]:
            done.now = at
            continue
        now, _, kind, prompt, charge = heapq.heappop(events)
        done.now = max(done.now, now)
        if kind == "arrive":
            if server.arrive(now, prompt):
                early = server.headers(now) if server.early else None
                heapq.heappush(events, (now + generation(), next(order), "finish", prompt, (charge, early)))
            else:
                heapq.heappush(
                    events, (now + delay(), next(order), "refused", prompt, (charge, server.headers(now)))
                )
        elif kind == "finish":
            server.finish(now, prompt)
            sent, early = charge
            told = (sent, server.headers(now) if early is None else early)
            heapq.heappush(events, (now + delay(), next(order), "answer", prompt, told))
        else:
            in_flight -= 1
            receive(limits, done, kind, prompt, *charge)
            if kind == "refused":
                waiting.appendleft(prompt)
    return done


def receive(
    limits: RateLimits, done: Drive, kind: str, prompt: Prompt, charge: Charge, said: tuple[Stated, ...]
) -> None:
    if kind == "refused":
        done.refused.append(charge.sent_at)
    limits.settle(charge, done.now, prompt.used if kind == "answer" else 0)
    if said:
        limits.told(charge, done.now, said)
    if done.first_answer is None:
        done.first_answer = done.now


def ideal(
    server: Server,
    prompts: Sequence[Prompt],
    seconds: float = float("inf"),
    down: Sequence[tuple[float, float]] = (),
) -> tuple[float, int]:
    """When strict FIFO sends the last prompt if the server counts at once, and the tokens sent by then.

    Nothing is sent during the stretches of `down`.
    """
    requests = Meter(server.rpw or 10**12, server.window)
    tokens = Meter(server.tpw or 10**12, server.window)
    now, total = 0.0, 0
    for prompt in prompts:
        amount = prompt.asked if server.count == "asked" else prompt.used
        while requests.level(now) + 1 > requests.limit or tokens.level(now) + amount > tokens.limit:
            now = min(m.entries[0][0] for m in (requests, tokens) if m.entries) + server.window
        now = next((until for since, until in down if since <= now < until), now)
        if now >= seconds:
            break
        requests.add(now, 1)
        tokens.add(now, amount)
        total += amount
    return now, total


def prompts(shape: str, number: int, limit: int, seed: int = 1) -> list[Prompt]:
    """Prompts whose tokens are a hundredth (small), a fifth (large) or anything (mixed) of `limit`."""
    rng = random.Random(seed)
    shares = {"small": (0.01,), "large": (0.19, 0.23), "mixed": (0.003, 0.01, 0.02, 0.1, 0.3)}[shape]
    found = []
    for _ in range(number):
        asked = max(2, int(limit * rng.choice(shares) * rng.uniform(0.9, 1.1)))
        prompt = asked // 3
        answer = asked - prompt
        found.append(Prompt(asked, prompt + int(answer * 0.9), prompt + int(answer * rng.uniform(0.2, 0.95))))
    return found
