"""What adaptive concurrency makes of a server of a hidden capacity, by discrete events.

    course = drive(AdaptiveConcurrency(512), RefusingServer(40), seconds=60, work=constant(1))
    course.throughput(30, 60)      work done a second

Virtual time in seconds, every draw from one seed. The job always has more rows.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from batchrun.concurrency import AdaptiveConcurrency, Result
from tests.reliability.capacity import Call, Server, Work

_REFUSAL = 0.05
"""Seconds after which a refusal arrives."""


@dataclass(slots=True)
class Course:
    """What happened. Times are in order."""

    answered: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    """Of each answer: seconds in a slot, or tokens."""
    refused: list[float] = field(default_factory=list)
    limits: list[tuple[float, int]] = field(default_factory=list)
    """The limit, each time it changed."""

    def throughput(self, start: float, end: float) -> float:
        """Work done a second between two moments: slots kept busy, or tokens a second."""
        first, last = bisect_left(self.answered, start), bisect_left(self.answered, end)
        return sum(self.work[first:last]) / (end - start)

    def refused_share(self, start: float, end: float) -> float:
        """Share of the calls that ended between two moments."""
        refused = bisect_left(self.refused, end) - bisect_left(self.refused, start)
        answered = bisect_left(self.answered, end) - bisect_left(self.answered, start)
        return refused / max(1, refused + answered)

    def limit_at(self, moment: float) -> int:
        return self.limits[max(0, bisect_left(self.limits, (moment, 0)) - 1)][1]

    def limits_between(self, start: float, end: float) -> list[int]:
        return [self.limit_at(start), *(limit for at, limit in self.limits if start <= at < end)]


@dataclass(frozen=True, slots=True)
class Weather:
    """What else befalls the calls."""

    failing: float = 0.0
    """Share of the calls that end in a 5xx, at the time of their answer."""
    outage: tuple[float, float] = (math.inf, math.inf)
    during: Literal["failed", "refused"] = "failed"
    """What calls end in that are sent between the two moments of `outage`."""
    pause: float = 0.0
    """Seconds for which nothing is sent after a refusal."""
    calls_a_second: float = math.inf
    """How many the job may send, for other reasons."""


def drive(
    controller: AdaptiveConcurrency,
    server: Server,
    *,
    seconds: float,
    work: Work,
    resized: Mapping[float, int] | None = None,
    weather: Weather | None = None,
    proving: bool = False,
    seed: int = 1,
) -> Course:
    """Keep as many calls under way as the controller allows, for `seconds`.

    resized: slots by the moment from which the server has them. proving: one call goes first, and the others
    when it is answered, as the gate has it.
    """
    loop = _Loop(controller, server, work, weather or Weather(), random.Random(seed))
    loop.proven = not proving
    loop.run(sorted((resized or {}).items()), seconds)
    return loop.course


class _Loop:
    def __init__(
        self,
        controller: AdaptiveConcurrency,
        server: Server,
        work: Work,
        weather: Weather,
        rng: random.Random,
    ) -> None:
        self.controller, self.server = controller, server
        self.work, self.weather, self.rng = work, weather, rng
        self.now = 0.0
        self.proven = True
        self.in_flight = 0
        self.rejected: deque[tuple[float, Call, Result]] = deque()
        self.may_send = 0.0
        self.course = Course(limits=[(0.0, controller.limit)])

    def run(self, resized: Sequence[tuple[float, int]], seconds: float) -> None:
        changes = deque(resized)
        while self.now < seconds:
            self._send()
            ends = self.server.next_end(self.now)
            rejected = self.rejected[0][0] if self.rejected else math.inf
            changing = changes[0][0] if changes else math.inf
            sending = self.may_send if self.may_send > self.now else math.inf
            full = self.proven and self.in_flight >= self.controller.limit
            growing = self.controller.grows_at() if full else math.inf
            self.now = max(self.now, min(ends, rejected, changing, sending, growing))
            if self.now == math.inf:
                return
            if self.now == growing:
                self.controller.wait(self.now)
                self._limit_changed()
            elif self.now == changing:
                self.server.resize(self.now, changes.popleft()[1])
            elif self.now == rejected:
                self._reject()
            elif self.now == ends:
                self._answer()

    def _send(self) -> None:
        while self.in_flight < (self.controller.limit if self.proven else 1) and self.now >= self.may_send:
            if self.weather.calls_a_second < math.inf:
                self.may_send = self.now + 1 / self.weather.calls_a_second
            work, tokens = self.work(self.rng)
            call = Call(self.now, work, tokens)
            self.in_flight += 1
            self.controller.began(self.now, self.in_flight)
            start, end = self.weather.outage
            if start <= self.now < end:
                self.rejected.append((self.now + _REFUSAL, call, self.weather.during))
            elif not self.server.take(self.now, call):
                self.rejected.append((self.now + _REFUSAL, call, "refused"))

    def _reject(self) -> None:
        _, call, result = self.rejected.popleft()
        if result == "refused":
            self.course.refused.append(self.now)
            self.may_send = max(self.may_send, self.now + self.weather.pause)
        self._ended(call, result)

    def _answer(self) -> None:
        call = self.server.finish(self.now)
        if self.rng.random() < self.weather.failing:
            self._ended(call, "failed")
            return
        self.proven = True
        self.course.answered.append(self.now)
        self.course.work.append(call.work)
        self._ended(call, "ok")

    def _ended(self, call: Call, result: Result) -> None:
        self.in_flight -= 1
        self.controller.ended(self.now, call.began_at, result, call.tokens if result == "ok" else None)
        self._limit_changed()

    def _limit_changed(self) -> None:
        if self.controller.limit != self.course.limits[-1][1]:
            self.course.limits.append((self.now, self.controller.limit))
