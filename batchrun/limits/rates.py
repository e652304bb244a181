"""Requests and tokens per window that a server's own sliding window never sees exceeded.

The server counts a call at some moment between its sending and its answer, a moment we do not
know. So a call weighs on our window from its sending until one window after the latest moment at
which the server can have counted it: its answer, or a slack after sending where the answer takes
longer (long generations then cost no throughput; a request that needs more than that to be
counted is outside the promise). Whichever call a server's window sees last, all the others in
that window still weighed here when it was sent: their sum was checked.

What answers state (`told`) steers as the job's own limits do, and the smaller one holds. A server that
counts what was used, not what was asked for, is found out by comparing accounts. It counts at the
answer, and lets a call in while anything is left; so calls are spread by what they will likely use, and
one goes only while what was answered within the window leaves something.

aiolimiter is not used: its leaky bucket refills while it is drawn on, so the first minute may see
twice the limit, and a bucket small enough to prevent that still has no bound for calls that the
network delays; it also serves small amounts first, takes no clock, and cannot be restored.

Everything here is pure: `now` is an argument, in monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from batchrun.limits.account import Account, Charge, Levels, Size
from batchrun.limits.discovered import LONGEST, Discovered
from batchrun.limits.headers import RateAccount, Stated, Unit
from batchrun.limits.in_force import SHORT, InForce
from batchrun.limits.limits import Limits
from batchrun.limits.windows import DUE, REQUESTS, SLACK
from batchrun.limits.word import Word

_READING = 0.005
"""Seconds in which one answer's headers are enough, once it is known how tokens are counted."""
_SURE = 5
"""Answers by which one way of counting must be ahead of the other before it is believed."""


class RateLimits:
    """The windows of one endpoint or model: those of the job, and those that its answers tell of.

    `delay`, then `charge` when the call is sent, `settle` when it has ended, then `told`. Memory holds
    what the last minute sent, by moments. A call that never settles counts as answered after the slack.
    """

    __slots__ = (
        *("_account", "_built", "_compared", "_count", "_doubtful", "_force", "_found", "_free", "_given"),
        *("_next_told", "_stocks", "_unclear", "_votes", "_word"),
    )

    def __init__(self, limits: Limits) -> None:
        self._given = limits
        self._count: Literal["asked", "used"] = limits.count or "asked"
        self._doubtful = limits.count is None
        """Both ways of counting are possible still: calls keep within both."""
        self._votes = self._built = 0
        self._next_told = -math.inf
        horizon = (max(LONGEST, limits.window) + SLACK) * 1.01
        self._account = Account(horizon, min(SHORT[-1], limits.window))
        self._found: dict[tuple[Unit, float | None], Discovered] = {}
        self._word = Word()
        self._build()

    def delay(self, now: float, size: Size) -> float:
        """Seconds until a call of `size` may be sent; 0 when it may go now."""
        if self._free:
            return 0.0
        wait = self._force.wait(now, size)
        if wait and self._unclear and self._word.allows(self._needs(size)):
            wait = self._force.wait(now, size, sure=True)
        for found, stock in self._stocks:
            wait = max(wait, stock.delay(now, self._drawn(found, size)))
        return wait

    def spent(self, now: float, size: Size) -> tuple[str, float] | None:
        """What the server says is used up of a limit over an hour or a day, and for how many seconds."""
        waits = [(stock.delay(now, self._drawn(found, size)), found) for found, stock in self._stocks]
        wait, found = max(waits, key=lambda each: each[0], default=(0.0, None))
        if found is None or wait <= 0:
            return None
        return f"the limit of {found.limit or 'all'} {found.unit} is used up, by the server's headers", wait

    def charge(self, now: float, size: Size) -> Charge:
        """Count a call that is being sent."""
        self._word.sending(self._account.sent.open)
        charge = self._account.charge(now, size.asked, size.expected)
        if self._found:
            for found, stock in self._stocks:
                stock.take(now, self._drawn(found, size))
            for found in self._compared:
                found.leaks[0].add(now, size.asked, found.rate)
            charge.levels = self._levels(now)
        return charge

    def settle(self, charge: Charge, now: float, used: int | None) -> bool:
        """The call has ended; it used `used` tokens, None where the server did not say.

        Whether a call may go sooner than `delay` said before.

        More than was reserved is charged now. What was not used is given back where the server counts
        what is used, and only there. A call that was refused, and so used nothing, settles with 0.
        """
        due = charge.due
        more = self._account.settle(charge, now, used)
        for found in self._compared:
            found.leaks[1].add(now, more, found.rate)
        return charge.due < due and self._force.counts_answers

    def told(self, charge: Charge, now: float, account: RateAccount) -> bool:
        """Steer by what the answer to a call said of the server's limits, after its `settle`.

        Whether the limits are others than before, so that a call may go sooner than `delay` said.
        """
        if now < self._next_told and not (self._doubtful and self._compared) and not self._unclear:
            return False
        self._next_told = now + _READING
        built, limits = self._built, [found.limit for found in self._found.values()]
        anew = changed = False
        for said in account:
            key = said.unit, said.window
            if key not in self._found:
                self._found[key] = Discovered(said.unit, said.window, self._given.window)
                anew = True
            # What was refused may not be counted, and its answer says nothing of when the last call was.
            anew |= self._found[key].learn(said, now - charge.since, counted=charge.due > 0)
        if anew:
            self._build()
        elif changed := limits != [found.limit for found in self._found.values()]:
            self._force.relimit()
        for said in account:
            self._compare(self._found[said.unit, said.window], said, charge, now)
        doubted = [self._doubt(self._found[said.unit, said.window], said, charge, now) for said in account]
        if any(doubted):
            self._build()
        self._word.answered(self._left(account, charge))
        return changed or built != self._built or bool(self._unclear and not self._account.sent.open)

    def per_minute(self, unit: Literal["requests", "tokens"]) -> float | None:
        """The least that goes in a minute by the job and by what the server stated; None without a limit."""
        given = self._given.rpm if unit == "requests" else self._given.tpm
        stated = [
            found.rate * 60.0
            for found in self._found.values()
            if found.unit == unit and found.limit and not found.stock
        ]
        return min([*([float(given)] if given is not None else []), *stated], default=None)

    @property
    def stated(self) -> tuple[Discovered, ...]:
        """The limits that answers have told of."""
        return tuple(self._found.values())

    @property
    def counted(self) -> Literal["asked", "used"] | None:
        """What the server counts of a call's tokens; None while that is not known."""
        return None if self._doubtful else self._count

    def counts(self, count: Literal["asked", "used"]) -> bool:
        """Learn from the limits of a model what its endpoint counts; whether that is news."""
        if self._given.count is not None or self.counted == count:
            return False
        self._count, self._doubtful = count, False
        self._build()
        return True

    def recall(self, now: float, wall: float, sent_at: float, tokens: int) -> None:
        """Charge a call that an earlier process sent, at `sent_at` seconds since the epoch."""
        self._account.recall(now, wall - sent_at, (1, tokens, tokens))

    def snapshot(self, now: float, wall: float) -> dict[str, Any]:
        """What still weighs and what was learned, for JSON; empty where that is nothing."""
        state = self._account.snapshot(now, wall)
        if self._found:
            state["found"] = [found.snapshot(now, wall) for found in self._found.values()]
        if self._given.count is None and not self._doubtful:
            state["count"] = self._count
        return state

    def restore(self, now: float, wall: float, state: Mapping[str, Any]) -> None:
        """Take up a `snapshot` of an earlier process, or of one before that (and then `recall`)."""
        self._account.restore(now, wall, state)
        if self._given.count is None and "count" in state:
            self._count, self._doubtful = state["count"], False
            self._votes = _SURE if self._count == "used" else -_SURE
        for each in state.get("found", ()):
            found = Discovered(each["unit"], each["name"], self._given.window)
            found.restore(now, wall, each)
            self._found[found.unit, found.name] = found
        self._build()

    def _compare(self, found: Discovered, said: Stated, charge: Charge, now: float) -> None:
        """Hold one statement of the server against our account."""
        if found.stock:
            reset = found.stretch.seconds if said.reset is None else said.reset
            way = self._account.sent.open if said.unit == "requests" else self._account.sent.open_due
            if said.unit == "output-tokens":
                way = 0
            if said.remaining is not None:
                flow = found.rate if found.stretch.kind == "bucket" else 0.0
                found.stock.told(now, found.limit, max(0, said.remaining - way), reset, flow)
            return
        then = charge.levels or Levels(0, 0, 0, 0)  # sent before anything was known
        ours = self._ours(found, then, now)
        found.others(now, said, ours, rough=said.unit != "requests" and self._count == "used")
        if charge.levels and found.unit == "tokens" and self._given.count is None:
            self._vote(found.vote(now, said, then, charge.due))

    def _doubt(self, found: Discovered, said: Stated, charge: Charge, now: float) -> bool:
        """Hold the assumed stretch against one statement; whether it is another one now."""
        if charge.levels is None or charge.sent_at < found.stretch.since:
            return False
        before, metric = found.stretch.seconds, REQUESTS if said.unit == "requests" else DUE
        if not charge.due:
            found.refusals += 1
            found.stretch.refused(now)
            return found.stretch.seconds != before
        own = 1 if metric == REQUESTS else charge.due
        return found.doubt(now, said, charge.levels, self._account.sent.totals[metric], own)

    def _ours(self, found: Discovered, then: Levels, now: float) -> int:
        """The most that the server can have counted of our own calls when it wrote the headers."""
        if found.unit == "requests":
            return max(found.main[0].used(now), then.requests)
        assert found.asked is not None
        assert found.used is not None
        if self._count == "asked":
            return max(found.asked.used(now), then.asked)
        return max(found.used.used(now), then.used) + self._account.sent.open_due

    def _vote(self, vote: int) -> None:
        self._votes = max(-2 * _SURE, min(2 * _SURE, self._votes + vote))
        count: Literal["asked", "used"] = "used" if self._votes > 0 else "asked"
        if abs(self._votes) >= _SURE and (self._doubtful or count != self._count):
            self._count, self._doubtful = count, False
            self._build()

    def _left(self, account: RateAccount, charge: Charge) -> Iterator[tuple[tuple[Unit, float | None], int]]:
        """What is left by the server's word once all calls are counted, of limits of no clear stretch."""
        for said in account:
            if (found := self._found[said.unit, said.window]) in self._unclear and said.remaining is not None:
                metric = REQUESTS if found.unit == "requests" else DUE
                ended = charge.levels.ended[metric == DUE] if charge.levels else 0
                yield (
                    (said.unit, said.window),
                    int(said.remaining) - (self._account.sent.totals[metric] - ended),
                )

    def _needs(self, size: Size) -> Iterator[tuple[tuple[Unit, float | None], int]]:
        """What a call takes of the limits whose stretch is not clear."""
        return (
            ((found.unit, found.name), 1 if found.unit == "requests" else size.asked)
            for found in self._unclear
        )

    def _drawn(self, found: Discovered, size: Size) -> int:
        """What a call takes of a stock; of output alone nothing is known, but that a call takes some."""
        return self._force.weight(size) if found.unit in ("tokens", "input-tokens") else 1

    def _levels(self, now: float) -> Levels:
        requests, tokens = 0, (0, 0, 0, 0)
        for found in self._found.values():
            if found.unit == "requests" and found.main:
                requests = found.main[0].used(now)
            elif found.asked is not None and found.used is not None:
                tokens = found.levels(now)
        return Levels(requests, *tokens, ended=self._account.ended())

    def _build(self) -> None:
        """Make the windows anew, from what was sent."""
        self._built += 1
        found = list(self._found.values())
        self._force = InForce(self._given, self._account, found, self._count, doubtful=self._doubtful)
        self._unclear = [f for f in found if not (f.stock or f.stretch.clear)]
        self._stocks = [(f, f.stock) for f in found if f.stock]
        self._free = not (self._force.holds or self._stocks)
        judged = self._given.count is None
        self._compared = [f for f in found if judged and f.asked and f.unit == "tokens"]
