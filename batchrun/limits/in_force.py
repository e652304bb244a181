"""The windows that hold now: of the limits that the job gives, and of those that answers tell of.

A minute alone would let a whole minute's share go out in one burst, which Azure (judging over 1
and 10 seconds) and Anthropic ("ramp up gradually") refuse. So requests also keep their share over 10
and over 1 seconds, tokens twice theirs. These shares may be overdrawn by the last amount, or
prompts that do not divide the share evenly would waste it; the window itself never is.

Everything here is pure: `now` is an argument, in monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from batchrun.limits.account import Account, Size
from batchrun.limits.discovered import LONGEST, Discovered
from batchrun.limits.limits import Limits
from batchrun.limits.windows import ASKED, DUE, REQUESTS, Window, slack_of

SHORT = (10.0, 1.0)
_TOKEN_PACE = 2.0
"""What the line loses behind a prompt of a quarter of the limit must be caught up: measured, a pace of 1.0
gives 92% of what the minute alone would, 1.5 95%, 2.0 97%."""
_HOPELESS = 1.25
"""How many times what a server takes in its whole stretch a call asks for when no waiting will help it: it
goes now, for the server to refuse, and holds nobody up. A smaller excess may be our estimate's: that goes
alone."""


class _Kind(NamedTuple):
    """What is counted, and over how many seconds."""

    requests: bool
    seconds: float


class _Windows(NamedTuple):
    """By what they count: calls sent, their tokens, and tokens of answers."""

    requests: list[Window]
    tokens: list[Window]
    answered: list[Window]


class InForce:
    """Windows over what `account` holds; it takes the place of the one before over the same account."""

    __slots__ = ("_account", "_all", "_both", "_count", "_found", "_given", "_sets", "_sure", "_theirs")

    def __init__(
        self,
        given: Limits,
        account: Account,
        found: Sequence[Discovered],
        count: Literal["asked", "used"],
        *,
        doubtful: bool,
    ) -> None:
        self._given, self._account, self._found, self._count = given, account, found, count
        self._both = count == "used" or (doubtful and bool(found))
        """Whether tokens of answers are held to the limits too."""
        self._sets: dict[_Kind, list[tuple[Window, float]]] = {}
        self._all, self._sure = _Windows([], [], []), _Windows([], [], [])
        self._theirs: list[list[Window]] = []
        """Those of tokens that the server alone states: over the whole stretch, then over parts of it."""
        account.sent.windows.clear()
        account.answered.windows.clear()
        for each in found:
            each.main = []
        for kind in dict.fromkeys(kind for kind, _ in self._stated()):
            self._add(kind)

    @property
    def holds(self) -> bool:
        """Whether there is any limit."""
        return bool(self._sets)

    @property
    def counts_answers(self) -> bool:
        """Whether an answer may let a call go sooner."""
        return bool(self._all.answered)

    def wait(self, now: float, size: Size, *, sure: bool = False) -> float:
        """Seconds until a call of `size` fits; `sure`: into those alone whose stretch is given or clear."""
        windows, wait = self._sure if sure else self._all, 0.0
        for window in windows.requests:
            if (longer := window.delay(now, 1)) > wait:
                wait = longer
        if windows.tokens:
            tokens = self.weight(size)
            hopeless = self._hopeless(tokens)
            for window in windows.tokens:
                if window in hopeless:
                    continue
                if (longer := window.delay(now, tokens)) > wait:
                    wait = longer
        for window in windows.answered:
            window.reserve = self._soon(window)
            wait = max(wait, window.delay(now, 1))
        return wait

    def weight(self, size: Size) -> int:
        """The tokens that a call weighs."""
        return size.asked if self._count == "asked" else self._account.due(size.expected)

    def relimit(self) -> None:
        """The server states other limits than before, over the same stretches."""
        for kind, made in self._sets.items():
            for window, share in made:
                window.limit = self._limit(kind, share)

    def _hopeless(self, tokens: int) -> Sequence[Window]:
        """The windows that a call will never fit into."""
        return [one for made in self._theirs if tokens > _HOPELESS * made[0].limit for one in made]

    def _soon(self, window: Window) -> int:
        """What may be counted before the next call arrives: at least one call of those under way."""
        sent = self._account.sent
        soon = int(window.limit * slack_of(window.seconds) / window.seconds)
        return min(sent.open_due, max(soon, sent.open_due // max(1, sent.open)))

    def _add(self, kind: _Kind) -> None:
        made = [(self._window(kind, seconds, share), share) for seconds, share in _shares(kind)]
        self._sets[kind] = made
        lists = [self._all, self._sure] if self._is_sure(kind) else [self._all]
        for windows in lists:
            (windows.requests if kind.requests else windows.tokens).extend(window for window, _ in made)
        if not kind.requests and kind not in [given for given, _ in self._given_limits()]:
            self._theirs.append([window for window, _ in made])
        held = [made[0][0]]
        if not kind.requests and self._both:
            log, limit = self._account.answered, held[0].limit
            answered = Window(log, DUE, limit, kind.seconds, exact=False, slack=0.0)
            for windows in lists:
                windows.answered.append(answered)
            made.append((answered, 1.0))
            held.append(answered)
        for found in self._found:
            if not found.stock and _kind(found) == kind:
                found.watch(held, self._account, slack_of(kind.seconds))

    def _is_sure(self, kind: _Kind) -> bool:
        clear = (_kind(found) for found in self._found if found.stretch.clear)
        return kind in [*(given for given, _ in self._given_limits()), *clear]

    def _window(self, kind: _Kind, seconds: float, share: float) -> Window:
        metric = REQUESTS if kind.requests else ASKED if self._count == "asked" else DUE
        limit, slack = self._limit(kind, share), slack_of(seconds)
        return Window(self._account.sent, metric, limit, seconds, exact=share == 1.0, slack=slack)

    def _limit(self, kind: _Kind, share: float) -> int:
        return math.ceil(share * min(limit for stated, limit in self._stated() if stated == kind))

    def _stated(self) -> Iterator[tuple[_Kind, int]]:
        """Every limit."""
        yield from self._given_limits()
        for found in self._found:
            if found.stock is None and found.limit is not None and found.unit != "output-tokens":
                yield _kind(found), found.limit

    def _given_limits(self) -> Iterator[tuple[_Kind, int]]:
        for requests, given in ((True, self._given.in_window("rpm")), (False, self._given.in_window("tpm"))):
            if given is not None:
                seconds, amount = given
                yield _Kind(requests, seconds), amount


def _kind(found: Discovered) -> _Kind:
    return _Kind(found.unit == "requests", found.stretch.seconds)


def _shares(kind: _Kind) -> list[tuple[float, float]]:
    """Seconds, and the share of the limit that may go within them."""
    shares = [(kind.seconds, 1.0)]
    if kind.seconds >= LONGEST:
        pace = 1.0 if kind.requests else _TOKEN_PACE
        shares += [(short, pace * short / kind.seconds) for short in SHORT]
    return shares
