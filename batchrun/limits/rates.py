"""Requests and tokens per window that a server's own sliding window never sees exceeded.

The server counts a call at some moment between its sending and its answer, a moment we do not
know. So a call weighs on our window from its sending until one window after the latest moment at
which the server can have counted it: its answer, or a slack after sending where the answer takes
longer (long generations then cost no throughput; a request that needs more than that to be
counted is outside the promise). Whichever call a server's window sees last, all the others in
that window still weighed here when it was sent: their sum was checked.

A minute alone would let a whole minute's share go out in one burst, which Azure (judging over 1
and 10 seconds) and Anthropic ("ramp up gradually") refuse. So requests also keep their share over 10
and over 1 seconds, tokens twice theirs. These shares may be overdrawn by the last amount, or
prompts that do not divide the share evenly would waste it; the window itself never is.

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
from batchrun.limits.headers import RateAccount, Stated
from batchrun.limits.limits import Limits
from batchrun.limits.windows import ASKED, DUE, REQUESTS, SLACK, Window, slack_of

_MINUTE = 60.0
_SHORT = (10.0, 1.0)
_TOKEN_PACE = 2.0
"""What the line loses behind a prompt of a quarter of the limit must be caught up: measured, a pace of 1.0
gives 92% of what the minute alone would, 1.5 95%, 2.0 97%."""
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
        *("_account", "_answered", "_built", "_compared", "_count", "_doubtful", "_found", "_given"),
        *("_next_told", "_requests", "_sets", "_stocks", "_tokens", "_votes"),
    )

    def __init__(self, limits: Limits) -> None:
        self._given = limits
        self._count: Literal["asked", "used"] = limits.count or "asked"
        self._doubtful = limits.count is None
        """Both ways of counting are possible still: calls keep within both."""
        self._votes = self._built = 0
        self._next_told = -math.inf
        horizon = (max(LONGEST, limits.window) + SLACK) * 1.01
        self._account = Account(horizon, min(_SHORT[-1], limits.window))
        self._found: dict[tuple[str, float | None], Discovered] = {}
        self._build()

    def delay(self, now: float, size: Size) -> float:
        """Seconds until a call of `size` may be sent; 0 when it may go now."""
        wait = 0.0
        for window in self._requests:
            if (longer := window.delay(now, 1)) > wait:
                wait = longer
        if self._tokens:
            tokens = self._weight(size)
            for window in self._tokens:
                if (longer := window.delay(now, tokens)) > wait:
                    wait = longer
        for window in self._answered:
            soon = int(window.limit * slack_of(window.seconds) / window.seconds)
            window.reserve = min(self._account.sent.open_due, soon)
            wait = max(wait, window.delay(now, 1))
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
        charge = self._account.charge(now, *size)
        for found, stock in self._stocks:
            stock.take(now, self._drawn(found, size))
        if self._compared:
            for found in self._compared:
                found.leaks[0].add(now, size.asked, found.rate)
        if self._found:
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
        return charge.due < due and bool(self._answered)

    def told(self, charge: Charge, now: float, account: RateAccount) -> bool:
        """Steer by what the answer to a call said of the server's limits, after its `settle`.

        Whether the limits are others than before, so that a call may go sooner than `delay` said.
        """
        if now < self._next_told and not (self._doubtful and self._compared):
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
            anew |= self._found[key].learn(said, now - charge.sent_at, counted=charge.due > 0)
        if anew:
            self._build()
        elif changed := limits != [found.limit for found in self._found.values()]:
            self._relimit()
        for said in account:
            self._compare(self._found[said.unit, said.window], said, charge, now)
        doubted = [self._doubt(self._found[said.unit, said.window], said, charge, now) for said in account]
        if any(doubted):
            self._build()
        return changed or built != self._built

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

    def _weight(self, size: Size) -> int:
        return size.asked if self._count == "asked" else self._account.due(size.expected)

    def _drawn(self, found: Discovered, size: Size) -> int:
        """What a call takes of a stock; of output alone nothing is known, but that a call takes some."""
        return self._weight(size) if found.unit in ("tokens", "input-tokens") else 1

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
        self._account.sent.windows.clear()
        self._account.answered.windows.clear()
        self._sets: dict[tuple[bool, float], list[tuple[Window, float]]] = {}
        self._requests: list[Window] = []
        self._tokens: list[Window] = []
        self._answered: list[Window] = []
        for found in self._found.values():
            found.main = []
        for requests, seconds in dict.fromkeys((key[0], key[1]) for key in self._stated()):
            self._add(requests=requests, seconds=seconds)
        self._stocks = [(f, f.stock) for f in self._found.values() if f.stock]
        judged = self._given.count is None
        self._compared = [f for f in self._found.values() if judged and f.asked and f.unit == "tokens"]

    def _relimit(self) -> None:
        """The server states other limits than before, over the same stretches."""
        for (requests, seconds), made in self._sets.items():
            for window, share in made:
                window.limit = self._limit(requests, seconds, share)

    def _add(self, *, requests: bool, seconds: float) -> None:
        metric = REQUESTS if requests else ASKED if self._count == "asked" else DUE
        shares = [(seconds, 1.0)]
        if seconds >= LONGEST:
            pace = 1.0 if requests else _TOKEN_PACE
            shares += [(short, pace * short / seconds) for short in _SHORT]
        made = [
            (self._window(metric, s, self._limit(requests, seconds, share), share), share)
            for s, share in shares
        ]
        self._sets[requests, seconds] = made
        (self._requests if requests else self._tokens).extend(window for window, _ in made)
        held = [made[0][0]]
        if not requests and (self._count == "used" or (self._doubtful and self._found)):
            answered = Window(self._account.answered, DUE, held[0].limit, seconds, exact=False, slack=0.0)
            self._answered.append(answered)
            made.append((answered, 1.0))
            held.append(answered)
        for found in self._found.values():
            if not found.stock and (found.unit == "requests", found.stretch.seconds) == (requests, seconds):
                found.watch(held, self._account, slack_of(seconds))

    def _window(self, metric: int, seconds: float, limit: int, share: float) -> Window:
        return Window(self._account.sent, metric, limit, seconds, exact=share == 1.0, slack=slack_of(seconds))

    def _limit(self, requests: bool, seconds: float, share: float) -> int:
        limit = min(limit for of, over, limit in self._stated() if (of, over) == (requests, seconds))
        return math.ceil(limit * share)

    def _stated(self) -> Iterator[tuple[bool, float, int]]:
        """Every limit: whether of requests, its seconds, and how much."""
        given = self._given
        for requests, per_minute in ((True, given.rpm), (False, given.tpm)):
            if per_minute is not None:
                # A limit of less than one call in a window is one call in a longer one.
                seconds = max(given.window, _MINUTE / per_minute)
                yield requests, seconds, max(1, int(per_minute * seconds / _MINUTE + 1e-9))
        for found in self._found.values():
            if found.stock is None and found.limit is not None and found.unit != "output-tokens":
                yield found.unit == "requests", found.stretch.seconds, found.limit
