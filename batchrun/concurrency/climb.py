"""How far more calls at once bring more throughput: the search on a server that takes everything.

It doubles until doubling no longer pays, then rests, and now and then tries a step: up, kept when throughput
follows; down, kept when it does not fall. A throughput that changes by itself brings the next step forward.
Latency alone is never judged: an engine that batches answers each call slower and yet more calls in all, and
a server that became slower does not get fewer calls for it.

Pure: it is told readings and says how many calls may be under way.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from batchrun.concurrency.throughput import Reading, between, change, elasticity

Phase: TypeAlias = Literal["rising", "resting", "trying"]

START = 20
"""Calls under way that it begins with."""
_DOUBLING_PAYS = 0.25
_STEP_PAYS = 0.15
_STEP_COSTS = 0.2
"""Elasticities: from which doubling goes on, from which a step up is kept, up to which a step down is."""
_FAR_BELOW = 0.5
"""Elasticity from which a step up is followed by one to the double."""
_IMPLAUSIBLE = -0.5
"""Elasticity that no step brings about: the server changed meanwhile."""
_STEP, _DOUBLE, _HALF = 1.33, 2.0, 0.5
_FEW = 16
"""Calls under way below which a step is to the double or the half: chance drowns smaller ones."""
_SHORTEST_QUEUE = 4
"""Calls below which no step down is tried: so few waiting hurt nobody, and fewer would take long to judge."""
_PATIENCE = (1, 3)
"""Rounds of rest before the next step: at first, at most."""
_TURNS = 4
"""Every fourth step is down: those cost throughput."""
_SHIFT = 0.15
"""Change of the logarithm of the throughput that is not taken for chance."""
_HALVED = -0.4
"""The same, from which the next step is far down."""
_FEWEST, _SAMPLE, _LONGEST = 8, 32, 4
"""A reading takes at least 8 answers and as many as calls are under way, and goes on while it is not clear
what it says: at rest up to 32 answers or the calls under way, while trying up to four times that."""


class Climb:
    """`limit` is the calls that may be under way, from 1 to `most`.

    `settled` is False from a change of the limit until the caller has seen the calls of before answered.
    """

    __slots__ = (
        "_base",
        "_from",
        "_patience",
        "_rested",
        "_tries",
        "limit",
        "most",
        "phase",
        "settled",
    )

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = self._from = min(START, most)
        self.phase: Phase = "rising"
        self.settled = True
        self._base: Reading | None = None
        """What `_from` calls, or the limit at rest, brought."""
        self._patience = _PATIENCE[0]
        self._rested = self._tries = 0
        """Rounds since the last step; steps since something was found."""

    def move(self, limit: float, phase: Phase) -> None:
        self.limit = max(1, min(self.most, round(limit)))
        self.phase = phase
        self.settled = False

    def rise(self) -> None:
        """Double from here on; what was learned is forgotten."""
        self._double(None)

    def hurry(self) -> None:
        """Double before the round is over; where doubling does not pay, all of it is taken back."""
        self.limit = min(self.most, 2 * self.limit)

    def rest(self) -> None:
        """Stay here; what was learned is forgotten."""
        self._base = None
        self.move(self.limit, "resting")

    def least_answers(self) -> int:
        """How many answers a reading needs at least."""
        return self.limit if self.phase == "rising" or not self.settled else max(self.limit, _FEWEST)

    def unsure(self, reading: Reading, answers: int) -> bool:
        """Whether the reading should go on: until it decides, or has taken long enough."""
        if self.phase == "rising":
            return False
        enough = max(self.limit, _SAMPLE)
        if self._base is None or self.phase == "resting":
            return answers < enough and not self._shifted(reading)
        share, error = elasticity(self._base, reading)
        threshold = _STEP_PAYS if self.limit > self._from else _STEP_COSTS
        return answers < _LONGEST * enough and abs(share - threshold) < 2 * error

    def unsaturated(self) -> None:
        """The limit was not used: a step is taken back if it was up, and nothing else is learned."""
        self._base = None
        if self.phase == "trying":
            self.move(min(self.limit, self._from), "resting")

    def judge(self, reading: Reading) -> None:
        """Go on from what a saturated round showed."""
        if self.phase == "rising":
            self._judge_doubling(reading)
        elif self.phase == "resting":
            self._judge_rest(reading)
        elif self._base is None:
            self.move(self._from, "resting")
        else:
            self._judge_step(self._base, reading)

    def _judge_doubling(self, reading: Reading) -> None:
        judged = self._base is not None and self._from >= START
        share = elasticity(self._base, reading)[0] if self._base and judged else 1.0
        if share < _DOUBLING_PAYS:
            self._base = None
            self._patience, self._tries = int(share > _STEP_PAYS), 0
            self.move(self._from, "resting")
        elif self.limit == self.most:
            self.rest()
        else:
            self._double(reading)

    def _double(self, reading: Reading | None) -> None:
        self._base, self._from = reading, self.limit
        self.move(self.limit * _DOUBLE, "rising")

    def _judge_rest(self, reading: Reading) -> None:
        if self._base is not None and self._shifted(reading):
            self._measure_anew(change(self._base, reading)[0])
            return
        self._base = between(self._base, reading) if self._base else reading
        self._rested += 1
        if self._rested >= self._patience:
            self._next_step()

    def _shifted(self, reading: Reading) -> bool:
        if self._base is None:
            return False
        gained, error = change(self._base, reading)
        return abs(gained) > max(_SHIFT, 3 * error)

    def _measure_anew(self, gained: float) -> None:
        """The server changed in the middle of a reading: another one, then a step where it went."""
        self._base, self._rested = None, 0
        self._patience = 0 if gained < _HALVED else _PATIENCE[0]
        self._tries = _TURNS - 1 if gained < 0 else 0
        self.move(self.limit, "resting")

    def _next_step(self) -> None:
        far = self._patience == 0  # doubling went too far, or the throughput fell
        down = self._tries % _TURNS == _TURNS - 1
        self._tries += 1
        self._patience = min(max(1, 2 * self._patience), _PATIENCE[1])
        self._step(_HALF if far else 1 / self._up if down else self._up)

    @property
    def _up(self) -> float:
        return _DOUBLE if self.limit < _FEW else _STEP

    def _step(self, factor: float) -> None:
        self._from, self._rested = self.limit, 0
        if factor > 1:
            target = min(self.most, math.ceil(self.limit * factor))
        else:
            target = min(self.limit, max(_SHORTEST_QUEUE, int(self.limit * factor)))
        if target == self.limit:
            self.phase = "resting"
        else:
            self.move(target, "trying")

    def _judge_step(self, base: Reading, reading: Reading) -> None:
        share, error = elasticity(base, reading)
        up = self.limit > self._from
        if share < _IMPLAUSIBLE:
            self._measure_anew(-1.0 if up else 1.0)
            self.move(self._from, "resting")
        elif up and share - error >= _FAR_BELOW:
            self._base, self._patience = reading, _PATIENCE[0]
            self._step(_DOUBLE)
        elif share >= _STEP_PAYS + error / 2 if up else share <= _STEP_COSTS:
            self._base = reading
            self._step(self._up if up else self.limit / self._from)
        else:
            self.move(self._from, "resting")
