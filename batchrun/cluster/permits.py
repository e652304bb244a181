"""The driver's admission, for calls that workers make."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio

from batchrun.admission import Admission, Permit, Unavailable
from batchrun.admission.gate import CallFeedback
from batchrun.answer.in_flight import InFlightCall
from batchrun.answer.tail import Latencies
from batchrun.budget import Amounts
from batchrun.clock import PausableClock
from batchrun.cluster.member import GrantedCall, Member
from batchrun.cluster.messages import Allowance, Granted, PermitRequest
from batchrun.engines.control import Control
from batchrun.errors import BudgetExhaustedError, StorageError
from batchrun.run_folder.journal.journal import Journal
from batchrun.summary import Stop

MARGIN = 1.5
"""Rows at work for each place: those beyond wait for their turn here, so that a place is filled at once."""

_LEAST = 4


class Permits:
    """Gives calls of workers their permits, and holds these until the calls are over.

    `models` are the endpoints and models of the job's chain; `latencies` learns how long the first takes.
    """

    def __init__(
        self,
        control: Control,
        admission: Admission,
        journal: Journal,
        models: Sequence[tuple[str, str]],
        *,
        clock: PausableClock,
        latencies: Latencies,
    ) -> None:
        self._control = control
        self._admission = admission
        self._journal = journal
        self._models = list(models)
        self._clock = clock
        self._latencies = latencies

    def allowance(self, workers: int) -> Allowance:
        """How things stand now, for each of so many workers."""
        admission = self._admission
        share = math.ceil(admission.slots() * MARGIN / max(1, workers))
        models = frozenset(pair for pair in self._models if admission.is_available(*pair))
        tripped = frozenset(endpoint for endpoint, _ in self._models if admission.circuit_is_open(endpoint))
        return Allowance(max(_LEAST, share), models, tripped, is_paused=self._clock.is_paused)

    async def serve(self, member: Member, asked: PermitRequest, lease: GrantedCall) -> None:
        """Give a call its permit when its turn comes, and hold it until the call is over."""
        found: Permit | Unavailable | None = None
        try:
            await self._journal.ready()
            with lease.scope:
                found = await self._admission.admit(
                    asked.endpoint, asked.model, asked.size, asked.bound, leave_for=asked.leave_for
                )
        except BudgetExhaustedError as exhausted:
            member.tell(Granted(asked.call, exhausted=str(exhausted)))
            self._control.stop(Stop("budget", str(exhausted)))
        except StorageError:
            self._control.in_flight_calls.drain_until(anyio.current_time())
            raise
        if isinstance(found, Unavailable):
            member.tell(Granted(asked.call, closed=found))
        if isinstance(found, Permit):
            with found:
                lease.permit = found
                await self._hold(member, asked, lease)
        member.leases.pop(asked.call, None)

    async def _hold(self, member: Member, asked: PermitRequest, lease: GrantedCall) -> None:
        index = self._models.index((asked.endpoint, asked.model))
        flight = InFlightCall(index, self._clock.monotonic())
        with self._control.in_flight_calls.under_way(flight):
            member.tell(Granted(asked.call))
            await lease.over.wait()
        if not lease.is_sent:  # its worker was lost before, or gave it back: nothing can have been paid
            lease.finish(CallFeedback("nothing", used=0), Amounts())
        elif index == 0 and lease.has_answer:
            self._latencies.add(self._clock.monotonic() - flight.started)
