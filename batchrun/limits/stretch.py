"""How long the stretch is in which a server counts, from the (limit, remaining, reset) of its answers.

Servers that do not name it differ in what `reset` means, and that tells:

    sliding log     until the last call leaves the window: the stretch itself, or shorter by at most
                    the time since our call was sent
    token bucket    until all that is used has flowed back: used / limit of the stretch

Each answer narrows the stretch under both readings; the wrong one soon contradicts itself. Where both
do, the window is a fixed one (a calendar minute), and the longest reset seen is nearest to its length.

Slow answers tell little: what a call used has come back before its answer says so. A run must not crawl for
that at a sixtieth of the rate. So where answer after answer says that far less is used than what was sent
within the assumed stretch, it is assumed to be shorter, step by step (`doubted`); each step lets more be
sent, and shows whether that comes back as soon. A refusal takes all steps back and makes the
next ones slower.
"""

from __future__ import annotations

import math
from typing import Literal

_USUAL = (1.0, 10.0, 60.0, 3600.0, 86_400.0)
_STEPS = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
"""What a stretch that is only bounded from above is taken for: few, as each change costs work."""
_FINE, _COARSE = 0.005, 1.0
"""By how many seconds a reset may be off for its rounding."""
_TOLERANCE = 1.02
_ENOUGH = 3
_RUN = 5
"""Answers in a row, to calls sent since the last step, that must contradict the stretch before the next."""
_SHY = 4
"""How many times as many they must be after each refusal."""
_RENEWED = 2000
"""Answers after which the evidence is gathered anew: a server may be set up otherwise."""


class _Range:
    """The lengths that the answers so far allow; `broken` when there is none."""

    __slots__ = ("high", "low")

    def __init__(self) -> None:
        self.low, self.high = 0.0, math.inf

    def narrow(self, low: float, high: float) -> bool:
        """Take in what one answer allows; whether that is news."""
        news = low > self.low or high < self.high
        if news:
            self.low, self.high = max(self.low, low), min(self.high, high)
        return news

    @property
    def broken(self) -> bool:
        return self.low > self.high * _TOLERANCE

    def likely(self) -> float | None:
        """The one usual length in range; else its upper end, if it is narrow."""
        usual = [s for s in _USUAL if self.low / _TOLERANCE <= s <= self.high * _TOLERANCE]
        if len(usual) == 1:
            return usual[0]
        return self.high if not usual and self.high <= 1.5 * self.low else None


class Stretch:
    """What is known of one limit's stretch; `seconds` is `prior` until the evidence is clear."""

    __slots__ = (
        *("_answers", "_bucket", "_doubts", "_log", "_longest", "_most", "_named", "_run", "_whole"),
        *("clear", "kind", "prior", "seconds", "since"),
    )

    def __init__(self, prior: float, *, named: bool = False) -> None:
        self.prior = self.seconds = prior
        self._named = self.clear = named
        self.kind: Literal["log", "bucket"] | None = None
        self._whole = True
        self._most = self.seconds
        """What is assumed while the evidence is not clear."""
        self._doubts, self._run = 0, _RUN
        self.since = -math.inf
        """When the last step was taken: what was sent before says nothing of it."""
        self._start()

    def _start(self) -> None:
        self._log, self._bucket = _Range(), _Range()
        self._answers = 0
        self._longest = 0.0

    def learn(self, limit: int, remaining: int, reset: float, latency: float) -> None:
        """One answer, `latency` seconds after its call was sent."""
        used = limit - remaining
        if used <= 0 or reset <= 0:
            return
        if self._answers >= _RENEWED:
            self._start()
        if self._whole and reset != int(reset):
            self._whole = False
            self._start()
        off = _COARSE if self._whole else _FINE
        self._answers += 1
        self._longest = max(self._longest, reset)
        news = self._log.narrow(reset - off, reset + latency + off)
        most = limit / max(used - 1, 1e-9)
        news |= self._bucket.narrow((reset - off) * limit / (used + 1), (reset + off) * most)
        if self._answers == _ENOUGH or (news and self._answers > _ENOUGH):
            self._judge()

    def doubted(self, now: float, *, contradicts: bool) -> None:
        """Whether one answer, to a call sent after `since`, contradicts a stretch of `seconds`."""
        self._doubts = self._doubts + 1 if contradicts else 0
        shorter = max((step for step in _STEPS if step < self.seconds), default=self.seconds)
        if self.clear or self._doubts < self._run or shorter * _TOLERANCE < self._least():
            return
        self.seconds = self._most = shorter
        self._doubts, self.since = 0, now

    def refused(self, now: float) -> None:
        """A call sent after `since` was refused: steps that were taken are taken back."""
        self._doubts = 0
        if not self.clear and self._most < self.prior:
            self.seconds = self._most = self.prior
            self._run *= _SHY
            self.since = now

    def _least(self) -> float:
        """The shortest stretch that the resets allow."""
        unbroken = [each.low for each in (self._log, self._bucket) if not each.broken]
        return min(unbroken, default=self._longest)

    def _judge(self) -> None:
        if self._log.broken and self._bucket.broken:
            self.kind = None
            usual = [s for s in _USUAL if s >= self._longest / _TOLERANCE]
            if usual and not self.clear:
                self.seconds = max(self._most, usual[0])
        elif self._log.broken or self._bucket.broken:
            self.kind = "bucket" if self._log.broken else "log"
            self._settle((self._bucket if self._log.broken else self._log).likely())
        elif not self.clear:
            self._either()

    def _either(self) -> None:
        """Both readings hold still: nothing longer than they allow, if that is less than was thought."""
        log, bucket = self._log.likely(), self._bucket.likely()
        longest = max(log or self._log.high, bucket or self._bucket.high)
        self.seconds = min([step for step in _STEPS if step * _TOLERANCE >= longest] + [self._most])
        self.clear = log is not None and log == bucket

    def _settle(self, seconds: float | None) -> None:
        if seconds is not None and not self._named:
            self.seconds, self.clear = seconds, True
