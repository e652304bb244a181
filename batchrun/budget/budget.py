"""What may still be taken of a budget.

Before a call is sent the most it can take is reserved, and settled when it has ended; a call without an
answer is held for good, for it may have been paid. Pure: nothing here waits, reads a clock or writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from batchrun.budget.amounts import Amounts, Sums, rounded_down
from batchrun.budget.words import Full, Kind, Per


@dataclass(frozen=True, slots=True)
class Caps:
    """What may be taken; None is no cap. `soft` lets calls go whose most is not known."""

    cost_usd: float | None = None
    tokens: int | None = None
    requests: int | None = None
    per: Per = "run"
    soft: bool = False


@dataclass(eq=False, slots=True)
class Reservation:
    """What is kept free for calls under way that end together, until they are settled or held.

    `in_batch`: they go by a batch, which takes hours, so that no other call waits for what it leaves.
    """

    sums: Sums
    in_batch: bool = False
    is_open: bool = True


class Budget:
    """What is left of `caps`.

    `spent` is what calls took in the time that the caps are for (`Caps.per`), `held` the most that
    calls without an answer may have taken, `held.requests` being their number; the two are apart.
    Where reservations are upper bounds, what is spent and held never passes a cap together.
    """

    __slots__ = ("_cost_cap", "_held", "_in_batches", "_reserved", "_spent", "caps", "in_flight")

    def __init__(self, caps: Caps, spent: Amounts | None = None, held: Amounts | None = None) -> None:
        self.caps = caps
        self.in_flight = 0
        """Reservations that are neither settled nor held, without those of batches."""
        self._cost_cap = None if caps.cost_usd is None else rounded_down(caps.cost_usd)
        self._spent = Sums.of(spent or Amounts())
        self._held = Sums.of(held or Amounts())
        self._reserved = Sums()
        self._in_batches = Sums()

    @property
    def spent(self) -> Amounts:
        """What calls took that have ended."""
        return self._spent.amounts()

    @property
    def held(self) -> Amounts:
        """The most that calls without an answer may have taken."""
        return self._held.amounts()

    @property
    def reserved(self) -> Amounts:
        """The most that calls under way may take."""
        return self._reserved.amounts()

    @property
    def reserved_in_realtime(self) -> Amounts:
        """The part of it that no batch takes."""
        return self._reserved.minus(self._in_batches).amounts()

    def unbounded(self, bound: Amounts) -> Kind | None:
        """The cap that cannot be kept, because the most that a call takes of it is not known."""
        if self.caps.soft:
            return None
        if self._cost_cap is not None and bound.cost_usd is None:
            return "cost_usd"
        return "tokens" if self.caps.tokens is not None and bound.tokens is None else None

    def fits(self, bound: Amounts) -> bool:
        """Whether a call of at most `bound` may go now.

        One whose most is not known may go while anything is left of a soft budget. Raises ValueError
        for one under a cap that is not soft: such requests are refused before (`no_upper_bound`).
        """
        return next(self._passed(bound, self._taken().plus(self._reserved)), None) is None

    def reserve(self, bound: Amounts, *, in_batch: bool = False) -> Reservation | None:
        """Keep free what a call can take at most; None when it does not fit. Raises as `fits` does."""
        return self.commit(bound, in_batch=in_batch) if self.fits(bound) else None

    def widen(self, reservation: Reservation, bound: Amounts) -> bool:
        """Keep free what one more call can take, beside those of `reservation`; False when it does not fit.

        Raises as `fits` does.
        """
        if not self.fits(bound):
            return False
        more = Sums.of(bound)
        reservation.sums = reservation.sums.plus(more)
        self._keep(more, in_batch=reservation.in_batch)
        return True

    def commit(self, bound: Amounts, *, in_batch: bool = False) -> Reservation:
        """Keep free what calls can take that were sent before: it counts, whether it fits or not."""
        reservation = Reservation(Sums.of(bound), in_batch)
        self._keep(reservation.sums, in_batch=in_batch)
        self.in_flight += not in_batch
        return reservation

    def settle(self, reservation: Reservation, actual: Amounts) -> None:
        """The call has ended and took `actual`: more than was reserved counts in full.

        What is not known counts as it was reserved. A call that was not sent took `Amounts()`.
        """
        bound, took = self._end(reservation), Sums.of(actual)
        cost = bound.cost if actual.cost_usd is None else took.cost
        tokens = bound.tokens if actual.tokens is None else took.tokens
        self._spent = self._spent.plus(Sums(cost, tokens, took.requests))

    def hold(self, reservation: Reservation) -> None:
        """The call was sent and has no answer: it may have been paid, and stays reserved for good."""
        self._held = self._held.plus(self._end(reservation))

    def correct(self, counted: Amounts, actual: Amounts, *, today: bool) -> None:
        """A call of an earlier submit, counted at `counted` until now, took `actual`.

        `today` says whether it was sent on the day of the books; one under `per: submit` is not in them.
        """
        if self.caps.per == "run" or (self.caps.per == "day" and today):
            self._spent = self._spent.minus(Sums.of(counted)).plus(Sums.of(actual))

    def begin_day(self) -> None:
        """A new day (UTC) has begun under `per: day`; calls under way count in it."""
        self._spent = self._held = Sums()

    def exhausted(self, bound: Amounts) -> str | None:
        """The sentence that ends sending; None while the call fits, or may fit when others have ended.

        Batches are not waited for.
        """
        if self.in_flight:
            return None
        if passed := next(self._passed(bound, self._taken()), None):
            return self._full(passed, bound).sentence()
        passed = next(self._passed(bound, self._taken().plus(self._reserved)), None)
        return None if passed is None else self._full(passed, bound).until_batches(self._kept(passed))

    def _keep(self, more: Sums, *, in_batch: bool) -> None:
        self._reserved = self._reserved.plus(more)
        if in_batch:
            self._in_batches = self._in_batches.plus(more)

    def _taken(self) -> Sums:
        return self._spent.plus(self._held)

    def _passed(self, bound: Amounts, taken: Sums) -> Iterator[Kind]:
        """The caps that `bound` would pass on top of `taken`."""
        caps, more = self.caps, Sums.of(bound)
        if self._cost_cap is not None:
            wanted = self._least(more.cost) if bound.cost_usd is None else more.cost
            if taken.cost + wanted > self._cost_cap:
                yield "cost_usd"
        if caps.tokens is not None:
            wanted = self._least(more.tokens) if bound.tokens is None else more.tokens
            if taken.tokens + wanted > caps.tokens:
                yield "tokens"
        if caps.requests is not None and taken.requests + more.requests > caps.requests:
            yield "requests"

    def _least(self, known: int) -> int:
        """What must be left for a call whose most is not known."""
        if not self.caps.soft:
            raise ValueError("a call without an upper bound came to a budget that is not soft")
        return max(known, 1)

    def _full(self, kind: Kind, bound: Amounts) -> Full:
        cap, wanted = getattr(self.caps, kind), getattr(bound, kind)
        taken, held = self._taken().amounts(), self.held
        return Full(
            kind=kind,
            per=self.caps.per,
            cap=cap,
            taken=getattr(taken, kind),
            held=getattr(held, kind),
            unanswered=held.requests,
            wanted=wanted,
        )

    def _kept(self, kind: Kind) -> float:
        kept: float = getattr(self.reserved, kind)
        return kept

    def _end(self, reservation: Reservation) -> Sums:
        if not reservation.is_open:
            raise ValueError("a reservation is settled or held once")
        reservation.is_open = False
        self._reserved = self._reserved.minus(reservation.sums)
        if reservation.in_batch:
            self._in_batches = self._in_batches.minus(reservation.sums)
        self.in_flight -= not reservation.in_batch
        return reservation.sums
