"""May this call go now? `admit` waits and reserves, and gives a permit that settles.

Each endpoint has a gate, and each model at an endpoint another. A call passes its model's gate and
then its endpoint's, always in this order, each strictly first come, first served: only the first in
line looks at slots, rates and pauses, so a small prompt never overtakes a large one. A model that
waits for its own limits keeps no other model from the endpoint. What a call may cost at most is
reserved from the budget last, in the same moment in which it takes its slots.

A model's gate lets one call through at a time until an answer proves it: a wrong key or a dead server
costs one call, not `concurrency`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import anyio

from batchrun.admission.circuit import Circuit
from batchrun.admission.gate import CallFeedback, Gate, still_binds
from batchrun.admission.permit import Permit
from batchrun.admission.route import Route, closed_by, for_slot
from batchrun.admission.states import Reason, Unavailable, Wait
from batchrun.budget import Amounts, Budget, Reservation
from batchrun.budget.spend import day_of
from batchrun.clock import Clock
from batchrun.errors import BudgetExhaustedError
from batchrun.limits import MOST_CONCURRENCY, Charge, Limits, Size
from batchrun.outcome import Error
from batchrun.policy.decision import RetryRules

_NO_REASON: frozenset[str] = frozenset()


class Admission:
    """The gates of a run.

    `endpoints` by name; `models` by (endpoint, model), listing every model that calls may name;
    `budget` is what all calls together may take; `jitter` gives numbers in [0, 1).
    """

    def __init__(
        self,
        endpoints: Mapping[str, Limits],
        models: Mapping[tuple[str, str], Limits],
        *,
        clock: Clock,
        jitter: Callable[[], float],
        budget: Budget | None = None,
        retry: RetryRules = RetryRules(),  # noqa: B008 - it is frozen
    ) -> None:
        self._endpoints = {
            e: Gate(limits, endpoint=e, model=None, circuit=Circuit(retry)) for e, limits in endpoints.items()
        }
        self._routes: dict[tuple[str, str], Route] = {}
        for (e, m), limits in models.items():
            gate, above = Gate(limits.at(endpoints[e]), endpoint=e, model=m, circuit=None), self._endpoints[e]
            above.models.append(gate)
            self._routes[e, m] = Route(gate, above, clock=clock, jitter=jitter, max_wait=retry.max_wait)
        self._clock = clock
        self.budget = budget
        self._others: list[dict[str, Any]] = []
        """What an earlier process knew of gates that this run does not have."""
        self.short = 0
        """Calls that wait for others to leave them a part of the budget."""
        self._let_go: anyio.Event | None = None
        """While calls are held."""

    async def admit(
        self, endpoint: str, model: str, size: Size, bound: Amounts, *, leave_for: frozenset[str] = _NO_REASON
    ) -> Permit | Unavailable:
        """Wait for the turn of a call of `size` tokens that takes `bound` at most.

        Gives `Unavailable` instead, at once and also to those already waiting, when the endpoint or the
        model is closed: the caller goes on to the next model; so it does while the endpoint's circuit is
        open for one of the reasons of `leave_for`. The permit is to be entered before anything is awaited.
        Raises BudgetExhaustedError when the budget does not hold `bound`, and no call under way can leave
        any of it. KeyError: a model that is not listed.
        """
        route = self._routes[endpoint, model]
        while True:
            if found := self.at_once(endpoint, model, size, bound, leave_for=leave_for):
                return found
            with route.endpoint.in_line(leave_for):  # ends before its turn comes when the circuit opens
                return await self._in_line(route, size, bound, leave_for)

    def at_once(
        self, endpoint: str, model: str, size: Size, bound: Amounts, *, leave_for: frozenset[str] = _NO_REASON
    ) -> Permit | Unavailable | None:
        """What `admit` gives without a wait; None where there is one, or somebody waits already.

        Who was in line and is free to go, but has not had its turn of the event loop, keeps nobody back: a
        line that passes one call a turn would never end while as many calls land and come again.
        """
        route, now = self._routes[endpoint, model], self._clock.monotonic()
        if shut := route.shut(now, leave_for):
            return shut
        if route.is_free(now, size) and self._affordable(bound):
            return self._take(route, size, bound)
        return None

    def _finish(
        self,
        route: Route,
        charges: tuple[Charge, Charge],
        reservation: Reservation | None,
        feedback: CallFeedback,
        paid: Amounts | None,
    ) -> None:
        """Let gates and budget learn from what came of a call; `paid` None keeps its reservation."""
        route.finished(charges, feedback)
        if self.budget and reservation:
            if paid is None:
                self.budget.hold(reservation)
            else:
                self.budget.settle(reservation, paid)
            self.budget_freed()

    def correct_past_call(self, at: float, counted: Amounts, actual: Amounts) -> None:
        """A call of an earlier submit, sent `at` (seconds since the epoch), is known to have taken `actual`.

        The budget has `counted` it at its bound until now.
        """
        if self.budget:
            self.budget.correct(counted, actual, today=day_of(at) == day_of(self._clock.wall()))
            self.budget_freed()

    def budget_freed(self) -> None:
        """Who waits for a part of the budget looks again."""
        for gate in self._gates() if self.short else ():
            gate.slot_freed()

    def pause(self, endpoint: str, until: float, reason: Reason = "retry-after") -> None:
        """Admit nobody to `endpoint` before `until` (monotonic seconds); a later pause never shortens one."""
        self._endpoints[endpoint].pause(self._clock.monotonic(), until, reason)

    def suspend(self) -> None:
        """Admit nobody until `let_go`."""
        self._let_go = self._let_go or anyio.Event()
        for gate in self._gates():
            gate.held = True
            gate.wake()  # who sleeps until its moment would go then

    def resume(self) -> None:
        """Admit calls again."""
        for gate in self._gates():
            gate.held = False
            gate.wake()
        if self._let_go is not None:
            self._let_go.set()
            self._let_go = None

    async def until_resumed(self) -> None:
        """Return when nobody is held, or at once."""
        while self._let_go is not None:
            await self._let_go.wait()

    def close(
        self, endpoint: str, reason: Error, *, model: str | None = None, seconds: float | None = None
    ) -> None:
        """Close `endpoint`, or one `model` there, for `seconds` (None: for this run).

        Whoever waits there gets `Unavailable` at once. When it opens again, one call goes first.
        """
        gate = self._endpoints[endpoint] if model is None else self._routes[endpoint, model].model
        gate.close(reason, math.inf if seconds is None else self._clock.monotonic() + seconds)

    def slots(self) -> int:
        """Calls that may be under way at once now, at all endpoints together."""
        most = (gate.most_slots for gate in self._endpoints.values())
        return sum(MOST_CONCURRENCY if each == math.inf else int(each) for each in most)

    def is_available(self, endpoint: str, model: str) -> bool:
        return self._routes[endpoint, model].closed(self._clock.monotonic()) is None

    def circuit_is_open(self, endpoint: str) -> bool:
        """Whether the endpoint's circuit is not closed."""
        return self._endpoints[endpoint].tripped(self._clock.monotonic())

    def route(self, endpoint: str, model: str) -> Route:
        """The gates that calls to a model pass. KeyError: not listed."""
        return self._routes[endpoint, model]

    def reasons(self) -> list[Unavailable]:
        """What is closed now, and why: endpoints first."""
        now = self._clock.monotonic()
        found = ((gate, gate.closed(now)) for gate in self._gates())
        return [closed_by(gate, why, now, self._clock) for gate, why in found if why]

    def waiting(self) -> list[Wait]:
        """What calls wait for now, other than a free slot: endpoints first."""
        now = self._clock.monotonic()
        waits = ((gate, gate.waits(now)) for gate in self._gates())
        return [Wait(gate.endpoint, gate.model, *wait) for gate, wait in waits if wait]

    def snapshot(self) -> dict[str, Any]:
        """What the last minute sent, the pauses and the timed closings, in wall-clock time, for JSON."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        return {"gates": [*(gate.snapshot(now, wall) for gate in self._gates()), *self._others]}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Honour the `snapshot` of an earlier process; what is not of this run is kept for a later one."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        states = {(state["endpoint"], state["model"]): state for state in snapshot["gates"]}
        for gate in self._gates():
            if state := states.pop((gate.endpoint, gate.model), None):
                gate.restore(state, now, wall)
        self._others = [state for state in states.values() if still_binds(state, wall)]

    def charge_past_call(self, endpoint: str, model: str, sent_at: float, tokens: int) -> None:
        """Charge a call that an earlier process sent, at `sent_at` seconds since the epoch.

        For a journal read after a kill, when there is no `snapshot`; never both for one call.
        """
        now, wall = self._clock.monotonic(), self._clock.wall()
        for gate in self._gates():
            if gate.endpoint == endpoint and gate.model in (None, model):
                gate.rates.recall(now, wall, sent_at, tokens)

    async def _in_line(
        self, route: Route, size: Size, bound: Amounts, leave_for: frozenset[str]
    ) -> Permit | Unavailable:
        async with route.model.line:
            if shut := await route.ready((route.model,), size, leave_for):
                return shut
            async with route.endpoint.line:
                while True:
                    if shut := await route.ready(route.gates, size, leave_for):
                        return shut
                    if self._affordable(bound):
                        return self._take(route, size, bound)
                    await self._spare(route, bound)

    def _affordable(self, bound: Amounts) -> bool:
        return self.budget is None or self.budget.fits(bound)

    async def _spare(self, route: Route, bound: Amounts) -> None:
        """Wait until a call under way may have left a part of the budget that it had reserved."""
        assert self.budget is not None, "what is not affordable has a budget"
        if reason := self.budget.exhausted(bound):
            raise BudgetExhaustedError(reason)
        self.short += 1
        try:
            await for_slot(route.gates)
        finally:
            self.short -= 1

    def _take(self, route: Route, size: Size, bound: Amounts) -> Permit:
        charges = route.take(size)
        reservation = self.budget.reserve(bound) if self.budget else None
        return Permit(route.gates, partial(self._finish, route, charges, reservation))

    def _gates(self) -> Iterator[Gate]:
        yield from self._endpoints.values()
        yield from (route.model for route in self._routes.values())
