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

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from batchrun.concurrency.ceiling import Ceiling
from batchrun.concurrency.climb import Climb
from batchrun.concurrency.throughput import Reading, Stretch

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

    __slots__ = ("_ceiling", "_climb", "_in_flight", "_size", "_stretch")

    def __init__(self, most: int, *, start: int = 20) -> None:
        self._climb = Climb(most, start)
        self._ceiling = Ceiling()
        self._in_flight = 0
        self._stretch: Stretch | None = None
        self._size = 1
        """Answers that end the round."""

    @property
    def limit(self) -> int:
        """Calls that may be under way now."""
        return self._climb.limit

    def began(self, now: float, in_flight: int) -> None:
        """A call went; `in_flight` counts it."""
        self._in_flight = in_flight
        self._ceiling.began(now)
        if self._stretch is None:
            self._new_round(now)
        else:
            self._stretch.moved(now, in_flight)

    def ended(self, now: float, began_at: float, result: Result, output_tokens: int | None) -> None:
        """A call that began at `began_at` is over; `output_tokens` of its answer, None when not told."""
        self._in_flight -= 1
        stretch = self._stretch
        if stretch is None:
            return
        stretch.moved(now, self._in_flight)
        if result == "ok":
            stretch.answered(now - began_at, output_tokens)
        elif result == "failed":
            stretch.failed += 1
        elif result == "refused":
            self._refused(now, began_at)
            return
        if stretch.answers >= self._size:
            self._round_over(now, stretch)
        elif self._in_flight == 0 and self._climb.phase == "rising":
            self._new_round(now)  # one call went ahead, to prove the server: not what the limit brings

    def snapshot(self) -> dict[str, Any]:
        """What was learned, for JSON."""
        rising = self._climb.phase == "rising" and self._ceiling.at is None
        return {"limit": self.limit, "ceiling": self._ceiling.at, "rising": rising}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Start from 0.8 of what an earlier process learned."""
        self._climb.move(int(state["limit"] * _RESUMED), "rising" if state["rising"] else "resting")
        self._ceiling.at = state["ceiling"]

    def _new_round(self, now: float) -> None:
        self._stretch = Stretch(now, self._in_flight)
        if self._ceiling.at is not None:
            self._size = max(self.limit, self._in_flight)
        else:
            self._size = max(self._climb.least_answers(), 0 if self._climb.settled else self._in_flight)

    def _refused(self, now: float, began_at: float) -> None:
        limit = self._ceiling.refused(now, began_at, self._in_flight, self.limit)
        if limit is not None:
            self._climb.move(limit, "resting")
            self._new_round(now)

    def _round_over(self, now: float, stretch: Stretch) -> None:
        reading = stretch.reading()
        searching = self._ceiling.at is None
        if reading and searching and self._measures() and self._climb.unsure(reading, stretch.answers):
            self._size += max(self.limit, self._climb.least_answers())
            return
        if reading and stretch.failed <= _FAILURES * stretch.answers:
            self._judge(now, reading)
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
