"""How an answer's bytes leave, as steps that a connection performs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from batchrun.simulator.rules import CloseFault, DripFault, Fault, Point, ResetFault, StallFault

NOTICE = 0.01
"""Seconds between the bytes before a reset and the reset, so that the client can see them."""

TICK = 0.05
"""Seconds between two pieces of a body that drips, at 20 bytes a second and more."""


@dataclass(frozen=True, slots=True)
class Send:
    """Hand these bytes to the kernel."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reset:
    """End the connection with RST."""


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection with FIN."""


Step: TypeAlias = Send | Wait | Reset | Close


def steps(head: bytes, body: bytes, fault: Fault | None) -> Iterator[Step]:
    """The steps that send an answer under `fault`. A delivery is complete when its last step was a Send."""
    match fault:
        case ResetFault(reset=point):
            yield from _before(head, body, point)
            yield Wait(NOTICE)
            yield Reset()
        case CloseFault(close=point):
            yield from _before(head, body, point)
            yield Close()
        case StallFault(stall=seconds, at=point):
            yield from _before(head, body, point)
            yield Wait(seconds)
            yield Send((head + body)[_cut(head, body, point) :])
        case DripFault(drip=rate):
            yield Send(head)
            yield from _drops(body, rate)
        case _:
            yield Send(head + body)


def _before(head: bytes, body: bytes, point: Point) -> Iterator[Step]:
    if sent := (head + body)[: _cut(head, body, point)]:
        yield Send(sent)


def _cut(head: bytes, body: bytes, point: Point) -> int:
    """The number of bytes before `point`."""
    return {"before_headers": 0, "after_headers": len(head), "mid_body": len(head) + len(body) // 2}[point]


def _drops(body: bytes, rate: float) -> Iterator[Step]:
    size = max(1, int(rate * TICK))
    for start in range(0, len(body), size):
        drop = body[start : start + size]
        yield Wait(len(drop) / rate)
        yield Send(drop)
