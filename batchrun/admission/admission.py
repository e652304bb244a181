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
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import anyio

from batchrun.admission.circuit import Circuit
from batchrun.admission.gate import Gate, Landing, Reason
from batchrun.admission.permit import Permit
from batchrun.admission.states import Closed, Wait
from batchrun.admission.waiting import for_moment, for_slot
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
        self._models = {
            (e, m): Gate(_as_counted(limits, endpoints[e]), endpoint=e, model=m, circuit=None)
            for (e, m), limits in models.items()
        }
        self._clock = clock
        self._jitter = jitter
        self._max_wait = retry.max_wait
        self.budget = budget
        self._others: list[dict[str, Any]] = []
        """What an earlier process knew of gates that this run does not have."""
        self.short = 0
        """Calls that wait for others to leave them a part of the budget."""
        self._let_go: anyio.Event | None = None
        """While calls are held."""

    async def admit(
        self, endpoint: str, model: str, size: Size, bound: Amounts, *, leave_for: frozenset[str] = _NO_REASON
    ) -> Permit | Closed:
        """Wait for the turn of a call of `size` tokens that takes `bound` at most.

        Gives `Closed` instead, at once and also to those already waiting, when the endpoint or the
        model is closed: the caller goes on to the next model; so it does while the endpoint's circuit is
        open for one of the reasons of `leave_for`. The permit is to be entered before anything is awaited.
        Raises BudgetExhaustedError when the budget does not hold `bound`, and no call under way can leave
        any of it. KeyError: a model that is not listed.
        """
        gates = self._models[endpoint, model], self._endpoints[endpoint]
        while True:
            if found := self.at_once(endpoint, model, size, bound, leave_for=leave_for):
                return found
            with gates[1].in_line(leave_for):  # ends before its turn comes when the circuit opens
                return await self._in_line(gates, size, bound, leave_for)

    def at_once(
        self, endpoint: str, model: str, size: Size, bound: Amounts, *, leave_for: frozenset[str] = _NO_REASON
    ) -> Permit | Closed | None:
        """What `admit` gives without a wait; None where there is one, or somebody waits already.

        Who was in line and is free to go, but has not had its turn of the event loop, keeps nobody back: a
        line that passes one call a turn would never end while as many calls land and come again.
        """
        gates = self._models[endpoint, model], self._endpoints[endpoint]
        now = self._clock.monotonic()
        if closed := self._closed(gates, now) or self._left(gates[1], now, leave_for):
            return closed
        for gate in gates:
            if gate.head is not None or gate.delay(now, size) > 0:
                return None
        return self._take(gates, size, bound) if self._affordable(bound) else None

    def _land(
        self,
        gates: tuple[Gate, Gate],
        charges: tuple[Charge, Charge],
        reservation: Reservation | None,
        landing: Landing,
        paid: Amounts | None,
    ) -> None:
        """Let gates and budget learn from what came of a call."""
        self._learn(gates, charges, landing)
        if self.budget and reservation:
            self._pay(self.budget, reservation, paid)

    def _learn(self, gates: tuple[Gate, Gate], charges: tuple[Charge, Charge], landing: Landing) -> None:
        now = self._clock.monotonic()
        was_open = gates[1].trouble(now) is not None
        model, endpoint = gates
        model.landed(charges[0], now, landing, self._jitter)
        endpoint.landed(charges[1], now, landing, self._jitter)
        if (counted := model.rates.counted) and endpoint.rates.counts(counted):
            endpoint.wake()
        if endpoint.circuit and endpoint.circuit.exhausted and landing.error:
            self.close(endpoint.endpoint, landing.error)
        elif not was_open and (trouble := endpoint.trouble(now)):
            endpoint.send_away(trouble[0].type)  # who has another model goes there

    def _pay(self, budget: Budget, reservation: Reservation, paid: Amounts | None) -> None:
        """Settle what was reserved for a call, or keep it reserved (None)."""
        if paid is None:
            budget.hold(reservation)
        else:
            budget.settle(reservation, paid)
        self.budget_freed()

    def recalled(self, at: float, counted: Amounts, actual: Amounts) -> None:
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

    def hold(self) -> None:
        """Admit nobody until `let_go`."""
        self._let_go = self._let_go or anyio.Event()
        for gate in self._gates():
            gate.held = True
            gate.wake()  # who sleeps until its moment would go then

    def let_go(self) -> None:
        """Admit calls again."""
        for gate in self._gates():
            gate.held = False
            gate.wake()
        if self._let_go is not None:
            self._let_go.set()
            self._let_go = None

    async def unheld(self) -> None:
        """Return when nobody is held, or at once."""
        while self._let_go is not None:
            await self._let_go.wait()

    def close(
        self, endpoint: str, reason: Error, *, model: str | None = None, seconds: float | None = None
    ) -> None:
        """Close `endpoint`, or one `model` there, for `seconds` (None: for this run).

        Whoever waits there gets `Closed` at once. When it opens again, one call goes first.
        """
        opens = math.inf if seconds is None else self._clock.monotonic() + seconds
        (self._endpoints[endpoint] if model is None else self._models[endpoint, model]).close(reason, opens)
        for gate in self._below(endpoint, model):
            gate.proven = False
            gate.wake()  # whoever is first at the endpoint is first at its model, too

    def places(self) -> int:
        """Calls that may be under way at once now, at all endpoints together."""
        places = 0
        for gate in self._endpoints.values():
            most = gate.most_places
            places += MOST_CONCURRENCY if most == math.inf else int(most)
        return places

    def is_open(self, endpoint: str, model: str) -> bool:
        gates = self._models[endpoint, model], self._endpoints[endpoint]
        return self._closed(gates, self._clock.monotonic()) is None

    def gates_of(self, endpoint: str, model: str) -> tuple[Gate, Gate]:
        """The gate of a model and that of its endpoint, which its calls pass. KeyError: not listed."""
        return self._models[endpoint, model], self._endpoints[endpoint]

    def reasons(self) -> list[Closed]:
        """What is closed now, and why: endpoints first."""
        now = self._clock.monotonic()
        return [closed for gate in self._gates() if (closed := self._closed((gate,), now))]

    def waiting(self) -> list[Wait]:
        """What calls wait for now, other than a free slot: endpoints first."""
        now = self._clock.monotonic()
        waits = ((gate, gate.waits(now)) for gate in self._gates())
        return [Wait(gate.endpoint, gate.model, *wait) for gate, wait in waits if wait]

    def per_minute(self, endpoint: str, model: str, unit: Literal["requests", "tokens"]) -> float | None:
        """The least that goes to a model in a minute, by its limits and its endpoint's; None without one."""
        gates = self._models[endpoint, model], self._endpoints[endpoint]
        known = (gate.rates.per_minute(unit) for gate in gates)
        return min((limit for limit in known if limit is not None), default=None)

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
        self._others = [state for state in states.values() if _still_binds(state, wall)]

    def recall(self, endpoint: str, model: str, sent_at: float, tokens: int) -> None:
        """Charge a call that an earlier process sent, at `sent_at` seconds since the epoch.

        For a journal read after a kill, when there is no `snapshot`; never both for one call.
        """
        now, wall = self._clock.monotonic(), self._clock.wall()
        for gate in (self._models.get((endpoint, model)), self._endpoints.get(endpoint)):
            if gate is not None:
                gate.rates.recall(now, wall, sent_at, tokens)

    async def _in_line(
        self, gates: tuple[Gate, Gate], size: Size, bound: Amounts, leave_for: frozenset[str]
    ) -> Permit | Closed:
        model, endpoint = gates
        async with model.line:
            if closed := await self._ready(gates, (model,), size, leave_for):
                return closed
            async with endpoint.line:
                while True:
                    if closed := await self._ready(gates, gates, size, leave_for):
                        return closed
                    if self._affordable(bound):
                        return self._take(gates, size, bound)
                    await self._spare(gates, bound)

    def _affordable(self, bound: Amounts) -> bool:
        return self.budget is None or self.budget.fits(bound)

    async def _spare(self, gates: tuple[Gate, Gate], bound: Amounts) -> None:
        """Wait until a call under way may have left a part of the budget that it had reserved."""
        assert self.budget is not None, "what is not affordable has a budget"
        if reason := self.budget.exhausted(bound):
            raise BudgetExhaustedError(reason)
        self.short += 1
        try:
            await for_slot(gates)
        finally:
            self.short -= 1

    def _take(self, gates: tuple[Gate, Gate], size: Size, bound: Amounts) -> Permit:
        now = self._clock.monotonic()
        model, endpoint = gates
        charges = model.take(now, size, self._jitter), endpoint.take(now, size, self._jitter)
        reservation = self.budget.reserve(bound) if self.budget else None
        return Permit(gates, partial(self._land, gates, charges, reservation))

    async def _ready(
        self, gates: tuple[Gate, Gate], ahead: tuple[Gate, ...], size: Size, leave_for: frozenset[str]
    ) -> Closed | None:
        """Return when `ahead`, whose lines are held, let the call go, or when one of `gates` closes."""
        while True:
            now = self._clock.monotonic()
            if closed := self._closed(gates, now) or self._left(gates[1], now, leave_for):
                return closed
            delays = [gate.delay(now, size) for gate in ahead]
            longest = max(delays)
            if longest <= 0:
                return None
            if longest == math.inf:
                await for_slot(ahead, min(gate.grows_in(now) for gate in ahead))
            elif longest > self._max_wait and self._close_spent(ahead[0], now, size):
                continue
            else:
                await for_moment(ahead, longest, ahead[delays.index(longest)], self._clock)

    def _close_spent(self, gate: Gate, now: float, size: Size) -> bool:
        """Close a model whose day's limit is used up, as its Retry-After would; whether that was done."""
        spent = gate.rates.spent(now, size)
        if spent is None or spent[1] <= self._max_wait:
            return False
        self.close(gate.endpoint, Error("rate_limit", spent[0]), model=gate.model, seconds=spent[1])
        return True

    def _closed(self, gates: tuple[Gate, ...], now: float) -> Closed | None:
        for gate in gates:
            if closed := gate.closed(now):
                reason, opens = closed
                until = None if opens == math.inf else self._clock.wall() + opens - now
                return Closed(gate.endpoint, gate.model, reason, until)
        return None

    def _left(self, gate: Gate, now: float, leave_for: frozenset[str]) -> Closed | None:
        """What a call that may go to another model gets while the circuit is open."""
        trouble = gate.trouble(now)
        if trouble is None or trouble[0].type not in leave_for:
            return None
        return Closed(gate.endpoint, None, trouble[0], self._clock.wall() + trouble[1])

    def tripped(self, endpoint: str) -> bool:
        """Whether the endpoint's circuit is not closed."""
        circuit = self._endpoints[endpoint].circuit
        return circuit is not None and circuit.state(self._clock.monotonic()) != "closed"

    def _gates(self) -> Iterator[Gate]:
        yield from self._endpoints.values()
        yield from self._models.values()

    def _below(self, endpoint: str, model: str | None) -> list[Gate]:
        return [g for (e, m), g in self._models.items() if e == endpoint and model in (None, m)]


def _as_counted(model: Limits, endpoint: Limits) -> Limits:
    """A model's limits; where it has none of its own, its answers tell of those of its endpoint: over the
    stretch, and counted, as the job says there."""
    if model.rpm is not None or model.tpm is not None:
        return model
    return replace(model, window=endpoint.window, count=model.count or endpoint.count)


def _still_binds(state: Mapping[str, Any], wall: float) -> bool:
    """Whether a gate's state has a pause or a closing that has not passed."""
    return any(state.get(key, {}).get("until", 0.0) > wall for key in ("paused", "closed"))
