"""What a round of calls says about a server: how much is under way, and what that brings.

Throughput is read by Little's law, calls under way divided by the seconds a call takes, rather than by
counting answers: servers answer in lumps (a batch ends together), and a count is wrong by one lump.
Where every answer told its output tokens, those are what counts: long answers are then no slowness.
"""

from __future__ import annotations

import math
from typing import NamedTuple

_LEAST_SPREAD = 0.25
"""Relative spread of latencies below which we do not believe them: those of calls that queue resemble each
other however different the calls are."""


class Reading(NamedTuple):
    """What a round showed: the natural logarithms of two throughputs, and their standard errors."""

    in_use: float
    """Calls under way, averaged over time."""
    calls: float
    calls_error: float
    tokens: float | None
    """Of output tokens a second; None where an answer did not tell its tokens, or all were equally long."""
    tokens_error: float
    latency: float
    """Of answers, averaged, seconds."""

    @property
    def error(self) -> float:
        return self.calls_error if self.tokens is None else self.tokens_error


class Round:
    """Adds up the calls that end between two moments. Times in seconds."""

    __slots__ = (
        "_area",
        "_at",
        "_in_flight",
        "_latency",
        "_mixed",
        "_ok",
        "_since",
        "_squares",
        "_tokens",
        "_tokens_squares",
        "_told",
        "failed",
    )

    def __init__(self, now: float, in_flight: int) -> None:
        self._since = self._at = now
        self._in_flight = in_flight
        self._area = self._latency = self._squares = self._mixed = 0.0
        self._ok = self._told = self._tokens = self._tokens_squares = self.failed = 0

    @property
    def answers(self) -> int:
        return self._ok + self.failed

    def moved(self, now: float, in_flight: int) -> None:
        """The number of calls under way changed."""
        self._area += self._in_flight * (now - self._at)
        self._at, self._in_flight = now, in_flight

    def answered(self, latency: float, tokens: int | None) -> None:
        self._ok += 1
        self._latency += latency
        self._squares += latency * latency
        if tokens:
            self._told += 1
            self._tokens += tokens
            self._tokens_squares += tokens * tokens
            self._mixed += latency * tokens

    def reading(self) -> Reading | None:
        """What was seen; None when nothing was answered or no time has passed."""
        seconds = self._at - self._since
        if not self._ok or self._area <= 0 or self._latency <= 0:
            return None
        in_use = self._area / seconds
        mean = self._latency / self._ok
        variance = max(0.0, self._squares / self._ok - mean * mean)
        error = max(_LEAST_SPREAD, math.sqrt(variance) / mean) / math.sqrt(self._ok)
        tokens, tokens_error = self._token_throughput(seconds, in_use, variance)
        return Reading(in_use, math.log(in_use / mean), error, tokens, tokens_error, mean)

    def _token_throughput(self, seconds: float, in_use: float, variance: float) -> tuple[float | None, float]:
        """Of two estimates of the same: calls under way by seconds a token, exact where nothing queues
        (latency goes with length); tokens by the clock, exact but for both ends where calls queue."""
        count = self._ok
        mean = self._tokens / count
        spread = self._tokens_squares / count - mean * mean
        if self._told < count or spread <= 1e-6 * mean * mean:
            return None, 0.0
        together = self._mixed / count - mean * self._latency / count
        explained = min(1.0, together * together / (spread * variance)) if variance and together > 0 else 0.0
        pace = self._latency / self._tokens
        left = self._squares - 2 * pace * self._mixed + pace * pace * self._tokens_squares
        little_error = math.sqrt(max(0.0, left)) / self._latency
        ends_error = math.sqrt(in_use) / count
        little, clock = math.log(in_use / pace), math.log(self._tokens / seconds)
        error = math.hypot(explained * little_error, (1 - explained) * ends_error)
        return explained * little + (1 - explained) * clock, error


def change(before: Reading, after: Reading) -> tuple[float, float]:
    """How the logarithm of the throughput changed, and the standard error of that.

    In tokens where both readings know them, else in calls.
    """
    if before.tokens is not None and after.tokens is not None:
        return after.tokens - before.tokens, math.hypot(before.tokens_error, after.tokens_error)
    return after.calls - before.calls, math.hypot(before.calls_error, after.calls_error)


def elasticity(before: Reading, after: Reading) -> tuple[float, float]:
    """Share of the change in calls under way that came back as throughput, and its standard error.

    1: twice the calls, twice the throughput; 0: the added calls only queue.
    """
    more = math.log(after.in_use / before.in_use)
    if abs(more) < 0.01:
        return 0.0, math.inf
    gained, error = change(before, after)
    return gained / more, error / abs(more)


def between(old: Reading, new: Reading) -> Reading:
    """The older reading fades by half each time, so a server that changes slowly is followed."""
    return Reading(
        (old.in_use + new.in_use) / 2,
        (old.calls + new.calls) / 2,
        math.hypot(old.calls_error, new.calls_error) / 2,
        (old.tokens + new.tokens) / 2 if old.tokens is not None and new.tokens is not None else None,
        math.hypot(old.tokens_error, new.tokens_error) / 2,
        new.latency,
    )
