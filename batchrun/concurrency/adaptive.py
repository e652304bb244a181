"""How many calls an endpoint takes at once, found out while the run goes: `concurrency: auto`.

Servers that are full do one of two things. Hosted ones refuse: a 429 cuts the limit and shows where the
ceiling is (`ceiling`). One's own (vLLM, llama.cpp, Ollama) take everything and let it queue, which shows only
in this, that more calls bring no more throughput (`climb`). The limit starts at 20 and doubles each round
until one of the two stops it.

A round is as many answers as calls may be under way. Rounds that did not use the limit (rate limits, few
rows) teach nothing, and rounds in which more than one answer in twenty is a failure of the server let nothing
grow; neither lets it shrink.

Pure: times are arguments, in monotonic seconds. Memory is constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from batchrun.concurrency.ceiling import Ceiling
from batchrun.concurrency.climb import Climb
from batchrun.concurrency.haste import Haste
from batchrun.concurrency.throughput import Reading, Round

Result: TypeAlias = Literal["ok", "refused", "failed", "nothing"]
"""What became of a call: a completion; a 429; a 5xx, a timeout or a lost connection; anything that says
nothing about load (cancelled, never sent, a mistake of ours)."""

_SATURATED = 0.8
"""Share of the limit that a round must have used, averaged over time."""
_FAILURES = 0.05
_RESUMED = 0.8
"""Share of what was learned with which a resumed run starts: the server may have become busier."""


class AdaptiveConcurrency:
    """The limit of one endpoint or model; never below 1, never above `most`.

    Ask `limit` before each call, tell `began` when it goes and `ended` exactly once when it is over.
    """

    __slots__ = ("_ceiling", "_climb", "_earlier", "_haste", "_in_flight", "_restored", "_round", "_size")

    def __init__(self, most: int) -> None:
        self._climb = Climb(most)
        self._ceiling = Ceiling()
        self._haste = Haste()
        self._in_flight = 0
        self._round: Round | None = None
        self._size = 1
        """Answers that end the round."""
        self._earlier = 0
        """What an earlier process learned, of which this one has started with the share `_restored`."""
        self._restored = 0

    @property
    def limit(self) -> int:
        """Calls that may be under way now."""
        return self._climb.limit

    def began(self, now: float, in_flight: int) -> None:
        """A call went; `in_flight` counts it."""
        self._in_flight = in_flight
        self._ceiling.began(now)
        if self._round is None:
            self._new_round(now)
        else:
            self._round.moved(now, in_flight)

    def ended(self, now: float, began_at: float, result: Result, output_tokens: int | None) -> None:
        """A call that began at `began_at` is over; `output_tokens` of its answer, None when not told."""
        self._in_flight -= 1
        current = self._round
        if current is None:
            return
        current.moved(now, self._in_flight)
        if result == "ok":
            current.answered(now - began_at, output_tokens)
        elif result == "failed":
            current.failed += 1
        elif result == "refused":
            self._refused(now, began_at)
            return
        if current.answers >= self._size:
            self._round_over(now, current)
        elif self._in_flight == 0 and self._climb.phase == "rising":
            if result == "ok":
                self._haste.first_answered(now - began_at)
            self._new_round(now)  # one call went ahead, to prove the server: not what the limit brings

    def grows_at(self) -> float:
        """When a limit that is in use grows although nothing is answered; infinite: not by itself."""
        if self._climb.phase != "rising" or self._ceiling.at is not None:
            return math.inf
        if self._round is None or self._round.failed:
            return math.inf
        return self._haste.due(self.limit, self._climb.most)

    def wait(self, now: float) -> bool:
        """A call waits for a slot, all of which are in use. Whether the limit has grown for it."""
        if now < self.grows_at():
            return False
        self._haste.grew(now, self.limit)
        self._climb.hurry()
        return True

    def limits_told(self) -> None:
        """The server tells its limits: it will refuse what is too much, and let nothing queue."""
        self._haste.told = True

    def snapshot(self) -> dict[str, Any]:
        """What was learned, for JSON."""
        rising = self._climb.phase == "rising" and self._ceiling.at is None
        learned = self._earlier if self.limit == self._restored else self.limit
        return {"limit": learned, "ceiling": self._ceiling.at, "rising": rising}

    def restore(self, state: object) -> None:
        """Start from 0.8 of what an earlier process learned; what cannot be read was not learned."""
        if not isinstance(state, Mapping) or (limit := _count(state.get("limit"))) is None:
            return
        self._climb.move(int(limit * _RESUMED), "rising" if state.get("rising") is True else "resting")
        self._earlier, self._restored = limit, self.limit
        self._ceiling.at = _count(state.get("ceiling"))

    def _new_round(self, now: float) -> None:
        self._round = Round(now, self._in_flight)
        self._haste.round_began(now)
        if self._ceiling.at is not None:
            self._size = max(self.limit, self._in_flight)
        else:
            self._size = max(self._climb.least_answers(), 0 if self._climb.settled else self._in_flight)

    def _refused(self, now: float, began_at: float) -> None:
        limit = self._ceiling.refused(now, began_at, self._in_flight, self.limit)
        if limit is not None:
            self._climb.move(limit, "resting")
            self._new_round(now)

    def _round_over(self, now: float, current: Round) -> None:
        reading = current.reading()
        if reading:
            self._haste.round_over(reading.latency)
        searching = self._ceiling.at is None
        if reading and searching and self._measures() and self._climb.unsure(reading, current.answers):
            self._size += max(self.limit, self._climb.least_answers())
            return
        if reading and current.failed <= _FAILURES * current.answers:
            self._judge(now, reading)
        elif self._haste.before is not None:  # it grew by the clock, and that is what fails
            self._climb.move(self._haste.before, "resting")
        else:
            self._climb.settled = True
        self._new_round(now)

    def _judge(self, now: float, reading: Reading) -> None:
        settled = self._measures()
        self._climb.settled = True
        saturated = reading.in_use >= _SATURATED * self.limit
        if self._ceiling.at is not None:
            if saturated:
                self._try_ceiling(now)
        elif settled and saturated:
            self._climb.judge(reading)
        elif settled:
            self._climb.unsaturated()

    def _measures(self) -> bool:
        """Whether the calls of before the last change were answered; rising does not wait for that."""
        return self._climb.settled or self._climb.phase == "rising"

    def _try_ceiling(self, now: float) -> None:
        self._climb.move(self._ceiling.round_over(now, self.limit, self._climb.most), "resting")
        if self._ceiling.at is None and self.limit < self._climb.most:
            self._climb.rise()
        elif self._ceiling.at is None:
            self._climb.rest()


def _count(value: object) -> int | None:
    """A number of calls; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None
