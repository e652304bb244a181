"""One limit that the server's answers state: its windows, what others use of it, how tokens are counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchrun.limits.account import Account, Levels
from batchrun.limits.headers import Stated, Unit
from batchrun.limits.stock import Stock
from batchrun.limits.stretch import Stretch
from batchrun.limits.windows import ASKED, DUE, REQUESTS, Window

LONGEST = 60.0
"""Seconds of the longest stretch that is logged; longer ones are a stock."""
_CLOSE = 0.05
"""How far, as a share of the limit, two accounts may differ and still be the same."""
_NOISE = 0.01
"""Share of the limit below which a difference between the accounts is none."""


class Leak:
    """A token bucket's level, for a server that lets what is used flow back all the time."""

    __slots__ = ("_at", "_level")

    def __init__(self) -> None:
        self._level, self._at = 0.0, 0.0

    def add(self, now: float, amount: int, rate: float) -> None:
        self._level = self.level(now, rate) + amount
        self._at = now

    def level(self, now: float, rate: float) -> float:
        """What is used of the bucket."""
        return max(0.0, self._level - (now - self._at) * rate)


class Discovered:
    """A limit as the last answer stated it."""

    __slots__ = (
        *("_halves", "_sent", "_turn_at", "asked", "leaks", "limit", "main", "surely"),
        *("name", "refusals", "stock", "stretch", "unit", "used"),
    )

    def __init__(self, unit: Unit, name: float | None, prior: float) -> None:
        self.unit, self.name = unit, name
        self.stretch = Stretch(name or prior, named=name is not None)
        self.limit: int | None = None
        self.stock: Stock | None = Stock()
        self.main: list[Window] = []
        """The windows that hold it; the others are for the comparison."""
        self.asked: Window | None = None
        self.surely: Window | None = None
        self.used: Window | None = None
        self._sent: Window | None = None
        """What was sent within the stretch, as long as that is not clear."""
        self.refusals = 0
        """Calls that the server may not have counted."""
        self.leaks = (Leak(), Leak())
        self._halves = [0, 0]
        self._turn_at = 0.0

    @property
    def rate(self) -> float:
        """What flows back into a bucket in a second."""
        return (self.limit or 0) / self.stretch.seconds

    def learn(self, said: Stated, latency: float, *, counted: bool) -> bool:
        """Take in one answer, of a call that the server `counted`; whether to build the windows anew."""
        before = (self.limit is None, self.stretch.seconds, self.stock is None)
        if said.limit is not None:
            self.limit = said.limit
            if counted and said.remaining is not None and said.reset is not None:
                self.stretch.learn(said.limit, min(said.remaining, said.limit), said.reset, latency)
        lasting = self._lasting()
        if lasting != (self.stock is not None):
            self.stock = Stock() if lasting else None
        return before != (self.limit is None, self.stretch.seconds, self.stock is None)

    def watch(self, main: list[Window], account: Account, slack: float) -> None:
        """Hold `main` to this limit, and keep the windows that its statements are compared with."""
        self.main = main
        self._sent = None
        if not (self.stretch.clear or self._lasting()):
            metric = REQUESTS if self.unit == "requests" else DUE
            self._sent = Window(account.sent, metric, 0, self.stretch.seconds, exact=False, slack=0.0)
        if self.unit != "requests":
            length, limit = self.stretch.seconds, self.limit or 0
            self.asked = Window(account.sent, ASKED, limit, length, exact=True, slack=slack)
            self.surely = Window(account.sent, ASKED, limit, length, exact=True, slack=0.0)
            self.used = Window(account.answered, DUE, limit, length, exact=False, slack=0.0)

    def _lasting(self) -> bool:
        """Whether it is a stock: too long for a log, without a limit, or of what no size tells."""
        return self.stretch.seconds > LONGEST or self.limit is None or self.unit == "output-tokens"

    def others(self, now: float, said: Stated, ours: int, *, rough: bool) -> None:
        """Charge what the server counts beyond our own calls, for the length of the window.

        It is the most that was seen over the last half to whole window: a difference can be hidden
        behind calls on their way, and is never shown too large. `rough`: ours is partly expected.
        """
        assert self.limit is not None
        more = self.limit - (said.remaining or 0) - ours if said.remaining is not None else 0
        if now >= self._turn_at:
            self._halves = [0, self._halves[0]]
            self._turn_at = now + self.stretch.seconds / 2
        if more > self.limit * (_CLOSE if rough else _NOISE):
            self._halves[0] = max(self._halves[0], int(more))
        foreign = max(self._halves)
        for window in self.main:
            window.foreign, window.foreign_until = foreign, now + self.stretch.seconds

    def doubt(self, now: float, said: Stated, then: Levels, total: int, own: int) -> bool:
        """Ask whether what the server counts is far less than what it would over the assumed stretch.

        Only what was sent within the stretch, and answered before this call was sent, must be in it.
        `total`: of all that was ever sent; `own`: of this call. Whether to build the windows anew.
        """
        if self._sent is None or self.limit is None or said.remaining is None:
            return False
        before, calls = self.stretch.seconds, self.unit == "requests"
        counted = self._sent.used(now) - total + then.ended[0 if calls else 1]
        counted -= self.refusals if calls else 0
        theirs = max(0, self.limit - said.remaining)
        room = 2 * theirs <= self.limit
        self.stretch.doubted(now, contradicts=room and counted >= 2 * (theirs + own))
        return self.stretch.seconds != before

    def vote(self, now: float, said: Stated, then: Levels, own: int) -> int:
        """Which account of ours the server's agrees with: 1 that of used tokens, -1 that of asked, 0 neither.

        The headers may have been written at the arrival of the call or at its answer.
        """
        if self.asked is None or self.used is None or self.limit is None or said.remaining is None:
            return 0
        if not self.stretch.clear:
            return 0
        asked, surely, used, used_least = self.levels(now)
        theirs, near = self.limit - said.remaining, self.limit * _CLOSE
        as_asked = min(surely, then.surely) - near <= theirs <= max(asked, then.asked) + near
        as_used = min(used_least, then.used_least) - own - near <= theirs <= max(used, then.used) + near
        return 0 if as_asked == as_used else 1 if as_used else -1

    def levels(self, now: float) -> tuple[int, int, int, int]:
        """Tokens asked, those surely counted still, used by answered calls, and of those the least.

        As this server counts; where its kind is not known, either way.
        """
        asked, used = (int(leak.level(now, self.rate)) for leak in self.leaks)
        if self.stretch.kind == "bucket":
            return asked, asked, used, used
        assert self.asked is not None
        assert self.surely is not None
        assert self.used is not None
        levels = self.asked.used(now), self.surely.used(now), self.used.used(now)
        if self.stretch.kind == "log":
            return *levels, levels[2]
        return max(asked, levels[0]), min(asked, levels[1]), max(used, levels[2]), min(used, levels[2])

    def snapshot(self, now: float, wall: float) -> dict[str, Any]:
        """For JSON."""
        state: dict[str, Any] = {"unit": self.unit, "name": self.name, "limit": self.limit}
        state |= {"seconds": self.stretch.seconds, "clear": self.stretch.clear, "kind": self.stretch.kind}
        if self.stock and (stock := self.stock.snapshot(now, wall)):
            state["stock"] = stock
        return state

    def restore(self, now: float, wall: float, state: Mapping[str, Any]) -> None:
        """Take up a `snapshot`."""
        self.limit = state["limit"]
        self.stretch.seconds, self.stretch.clear = state["seconds"], state["clear"]
        self.stretch.kind = state["kind"]
        lasting = self._lasting()
        self.stock = Stock() if lasting else None
        if self.stock and (stock := state.get("stock")):
            self.stock.restore(now, wall, stock)
