"""Chance without a generator's state: a draw is a hash of the seed and of what it is drawn for.

So a call's latency and fault do not depend on which other calls came before it.
"""

from __future__ import annotations

import hashlib
import math

from batchrun.codec import hash64
from batchrun.simulator.config import ConstantLatency, Latency, UniformLatency


def draw(*parts: object) -> float:
    """A number in [0, 1) that depends on `parts` alone."""
    return (hash64("\0".join(map(str, parts)).encode()) >> 11) / (1 << 53)


def numbers(count: int, *parts: object) -> list[int]:
    """`count` numbers in [0, 65536) that depend on `parts` alone, at one hash for 32 of them."""
    seed = "\0".join(map(str, parts)).encode()
    data = hashlib.shake_128(seed).digest(2 * count)
    return [data[i] << 8 | data[i + 1] for i in range(0, 2 * count, 2)]


def latency(rule: Latency, *parts: object) -> float:
    """Seconds until the answer to the call that `parts` name starts."""
    if isinstance(rule, ConstantLatency):
        return rule.seconds
    if isinstance(rule, UniformLatency):
        return rule.low + (rule.high - rule.low) * draw("latency", *parts)
    return min(rule.max, rule.median * math.exp(rule.sigma * _normal(*parts)))


def slowed(seconds: float, taken: int, slowdown: float | None) -> float:
    """How long an answer takes that begins as one of `taken` at once."""
    return seconds if slowdown is None else seconds * (1 + (taken - 1) / slowdown)


def _normal(*parts: object) -> float:
    """A standard normal draw, by Box and Muller."""
    radius = math.sqrt(-2 * math.log(1 - draw("radius", *parts)))
    return radius * math.cos(2 * math.pi * draw("angle", *parts))
