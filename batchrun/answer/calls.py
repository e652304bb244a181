"""One call: admission, the `sent` record, the exchange, the `answer` record, and what is learned from it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import anyio
import anyio.lowlevel

from batchrun.admission import Admitting, Closed, Permit
from batchrun.admission.circuit import Report, report
from batchrun.admission.gate import Landing
from batchrun.answer.flights import Flight, Flights
from batchrun.answer.needs import Estimator, Needs
from batchrun.answer.recovery import Recovery, note_received
from batchrun.answer.tail import Latencies
from batchrun.answer.task import AskKey, OutOfTimeError, Progress, Task
from batchrun.budget import Amounts
from batchrun.client import EndpointClient
from batchrun.client.body import MAX_REFUSAL
from batchrun.clock import Clock
from batchrun.concurrency import Result
from batchrun.errors import BudgetExhaustedError, OpenFilesError
from batchrun.job import ANY_MODEL, ModelChoice
from batchrun.limits.headers import RateAccount, read_rate_headers
from batchrun.outcome import Error, Exchange, Reply, Unanswered
from batchrun.policy.judge import Judged, judge
from batchrun.prices import ModelPrices
from batchrun.render.request import Request
from batchrun.run_folder.journal.journal import Recorder
from batchrun.run_folder.journal.records import Answered, Sent
from batchrun.spending.paid import cost_of, paid, taken
from batchrun.summary import Counters
from batchrun.value import value

_PROVES_NOTHING = frozenset({"auth", "quota", "model_not_found", "server"})
"""Answers that do not show that the endpoint can do its work."""

_NO_REASON: frozenset[str] = frozenset()
_FAILURES = frozenset({"server", "connection", "timeout", "invalid_response"})
"""Errors that are the endpoint's own."""

_NO_FILES = re.compile(r"\(os error (23|24)\)")
"""How the client's library names ENFILE and EMFILE."""

HEDGED = Error("cancelled", "a copy of this call was answered first")


@value(frozen=True, slots=True)
class _Call:
    """What is asked, and what that takes."""

    task: Task
    ask: AskKey
    index: int
    body: bytes
    progress: Progress
    needs: Needs


class Caller:
    """Sends calls. `clients` by endpoint."""

    def __init__(
        self,
        models: Sequence[ModelChoice],
        clients: Mapping[str, EndpointClient],
        prices: ModelPrices,
        admission: Admitting,
        journal: Recorder,
        flights: Flights,
        counters: Counters,
        clock: Clock,
        recovery: Recovery | None = None,
    ) -> None:
        self._models = models
        self._clients = clients
        self._admission = admission
        self._journal = journal
        self._flights = flights
        self._counters = counters
        self._clock = clock
        self._recovery = recovery
        self.refusals: dict[str, int] = {}
        """429s in a row, by endpoint; those of calls that were under way at the first are one with it."""
        self._refused_at: dict[str, float] = {}
        """When the last of these came, in monotonic seconds."""
        self.latencies = [Latencies() for _ in models]
        self._estimator = Estimator(models, prices, admission.budget)

    async def call(
        self,
        task: Task,
        ask: AskKey,
        index: int,
        body: bytes,
        progress: Progress,
        *,
        leave_for: frozenset[str] = _NO_REASON,
    ) -> Judged | Closed:
        """Send `body` to a model once when it may go, or say that the model is closed.

        `progress.answered` is the call that answered. Raises BudgetExhaustedError when it cannot be paid, and
        OutOfTimeError.
        """
        if self._flights.landing:  # a call that has landed must not start another
            await anyio.lowlevel.checkpoint()
        assert isinstance(task.request, Request)
        is_prompt = not ask.digest
        needs = self._estimator.needs(task.request, index, body, is_prompt=is_prompt, row_id=task.row_id)
        call = _Call(task, ask, index, body, progress, needs)
        await self._journal.ready()  # not after admission: a Retry-After could arrive meanwhile
        permit = await self._admitted(call, leave_for)
        if isinstance(permit, Closed):
            return permit
        with permit:
            second: list[tuple[int, Judged]] = []
            flight = Flight(index, self._clock.monotonic(), lambda flight: self._copy(call, flight, second))
            landed = await self._fly(call, permit, flight)
            if flight.copy_ended:
                await self._end_copy(flight, flight.copy_ended, landed)
            if second and (landed is None or landed[1].completion is None):
                landed = second[0]
            if landed is None:  # the drain is over: the call stays as possibly paid
                await anyio.lowlevel.checkpoint()
                raise AssertionError("a call is given up only when the run is cancelled")
        progress.answered, judged = landed
        return judged

    async def _admitted(self, call: _Call, leave_for: frozenset[str]) -> Permit | Closed:
        model, needs = self._models[call.index], call.needs
        asked = model.endpoint, model.name, needs.size, needs.bound
        if found := self._admission.at_once(*asked, leave_for=leave_for):
            return found
        while True:
            await self._admission.unheld()
            try:
                with call.progress.in_time(self._clock):
                    return await self._admission.admit(*asked, leave_for=leave_for)
            except OutOfTimeError:
                if self._clock.monotonic() >= call.progress.deadline:
                    raise  # else the run was paused meanwhile, which takes nothing of the row's time

    async def _fly(self, call: _Call, permit: Permit, flight: Flight) -> tuple[int, Judged] | None:
        """Send it: its number, and what came of it; None when it was given up, and nothing is known."""
        number = call.progress.next_call
        call.progress.next_call += 1
        sent = self._sent(call, number)
        try:
            await self._journal.begin(sent)
        except BaseException:  # it is not sent, so that nothing can be paid
            permit.landed(Landing("nothing", used=0), Amounts())
            raise
        self._counters.calls += 1
        call.progress.first_sent = min(call.progress.first_sent, sent.at)
        exchange: Exchange | None = None
        try:
            with self._flights.took_off(flight):
                exchange = await self._exchange(call, sent, flight)
                self._journal.append(Answered(call.task.number, number, self._clock.wall(), exchange))
                _check_open_files(exchange)
        finally:
            self._flights.landed(flight)
        if exchange is None:
            call.progress.note(number, HEDGED)
            call.progress.paid(sent.at, call.needs.bound, None)
            return None
        judged = judge(exchange)
        call.progress.note(number, judged.error)
        note_received(call.progress, judged)
        self._land(call, permit, judged, sent.at, flight.started)
        return number, judged

    async def _exchange(self, call: _Call, sent: Sent, flight: Flight) -> Exchange:
        """What comes of the call, or the stored answer where that does not arrive."""
        client = self._clients[sent.endpoint]
        exchange = await client.call(call.body, timeout=call.progress.deadline - flight.started)
        exchange = _shortened(exchange)
        if self._recovery is None:
            return exchange
        return await self._recovery.in_place_of(exchange, call.task, sent, call.progress)

    async def _copy(self, call: _Call, flight: Flight, answers: list[tuple[int, Judged]]) -> None:
        """Send the same once more; the first good answer wins, and its rival is given up."""
        assert flight.copy_ended, "it is set where a copy is started"
        with anyio.CancelScope() as flight.copy_scope:
            try:
                if flight.ended or ((budget := self._admission.budget) and not budget.fits(call.needs.bound)):
                    return  # rows that have no call yet go first, and none waits behind a copy
                permit = await self._admitted(call, _FAILURES)
                if isinstance(permit, Closed):
                    return
                with permit:
                    if flight.ended:  # meanwhile
                        permit.landed(Landing("nothing", used=0), Amounts())
                        return
                    self._counters.hedged += 1
                    flight.rival = Flight(call.index, self._clock.monotonic())
                    landed = await self._fly(call, permit, flight.rival)
            except (BudgetExhaustedError, OutOfTimeError):
                return
            finally:
                flight.copy_ended.set()
            if landed is not None and landed[1].completion is not None:
                answers.append(landed)
                flight.give_up()

    async def _end_copy(
        self, flight: Flight, copy_ended: anyio.Event, landed: tuple[int, Judged] | None
    ) -> None:
        """Give up the copy of a call that has ended: no record of it may come after the row's outcome.

        A call that failed waits for its copy, which may do better, unless the run is stopping.
        """
        flight.ended = True
        failed = landed is not None and landed[1].completion is None
        with anyio.CancelScope(shield=True):  # a copy under way ends with the row's time, or the drain
            if failed and flight.rival is not None and not self._flights.landing:
                await copy_ended.wait()
            if flight.copy_scope is not None:
                flight.copy_scope.cancel()
            if flight.rival is not None:
                flight.rival.give_up()
            await copy_ended.wait()

    def _land(self, call: _Call, permit: Permit, judged: Judged, sent_at: float, started: float) -> None:
        """Tell gates, budget and counters what came of a call, and learn from it."""
        price = call.needs.price
        amounts, cost = paid(judged, price, sent_at), cost_of(judged, price, sent_at)
        call.progress.paid(sent_at, taken(amounts, call.needs.bound), cost)
        usage = judged.usage
        landing = Landing(
            _result(judged),
            used=_used(judged),
            output_tokens=usage.completion_tokens if usage else None,
            account=self._account(judged.exchange),
            proves=isinstance(judged.exchange, Reply)
            and (judged.error is None or judged.error.type not in _PROVES_NOTHING),
            report=self._report(judged, call.index),
            row=call.task.number,
            error=judged.error,
        )
        permit.landed(landing, amounts)
        self._count(judged, cost)
        if isinstance(judged.exchange, Reply):
            self._learn(self._models[call.index].endpoint, judged.error, started)
        if judged.completion is not None:
            self.latencies[call.index].add(judged.exchange.latency)
            if usage is not None:
                self._estimator.learn(call.index, call.needs, usage)

    def _report(self, judged: Judged, index: int) -> Report | None:
        """What the call says of its endpoint: one replica's failure is not the endpoint's."""
        told = report(judged)
        spared = told != "ok" and self._clients[self._models[index].endpoint].has_spare
        return None if spared else told

    def _account(self, exchange: Exchange) -> RateAccount | None:
        if not isinstance(exchange, Reply):
            return None
        return read_rate_headers(exchange.headers, self._clock.wall())

    def _learn(self, endpoint: str, error: Error | None, started: float) -> None:
        if error is None or error.type != "rate_limit":
            self.refusals[endpoint] = 0
        elif started >= self._refused_at.get(endpoint, -math.inf) or not self.refusals.get(endpoint):
            self.refusals[endpoint] = self.refusals.get(endpoint, 0) + 1
            self._refused_at[endpoint] = self._clock.monotonic()

    def _count(self, judged: Judged, cost: float | None) -> None:
        if judged.usage is not None:
            self._counters.prompt_tokens += judged.usage.prompt_tokens or 0
            self._counters.completion_tokens += judged.usage.completion_tokens or 0
        if cost is not None:
            self._counters.cost_usd = (self._counters.cost_usd or 0.0) + cost

    def _sent(self, call: _Call, number: int) -> Sent:
        model = self._models[call.index]
        return Sent(
            task=call.task.number,
            call=number,
            row=call.task.row,
            key=call.task.key,
            request_hash=call.task.request_hash,
            model=model.spelled,
            endpoint=model.endpoint,
            model_index=call.index,
            at=self._clock.wall(),
            tokens=call.needs.size.asked,
            bound_usd=call.needs.bound.cost_usd,
            bound_tokens=call.needs.bound.tokens,
            named=call.needs.named if model.name == ANY_MODEL else "",
            step=call.ask.step,
            ask=call.ask.digest,
        )


def _shortened(exchange: Exchange) -> Exchange:
    """A long success that holds no answer, cut as errors are: the journal keeps what an unfinished row has
    received in memory, and such a row is asked again and again."""
    if not isinstance(exchange, Reply) or len(exchange.body) <= MAX_REFUSAL or judge(exchange).completion:
        return exchange
    return replace(exchange, body=exchange.body[:MAX_REFUSAL])


def _check_open_files(exchange: Exchange) -> None:
    """Raises OpenFilesError when no connection could be opened for want of a file: every other call would
    end alike, and no row is to blame."""
    if isinstance(exchange, Unanswered) and not exchange.sent and _NO_FILES.search(exchange.message):
        raise OpenFilesError(
            f"no connection could be opened: {exchange.message}",
            hint="Raise the limit on open files (`ulimit -n 4096`), or lower limits.concurrency; then submit "
            "again: it continues.",
        )


def _used(judged: Judged) -> int | None:
    """The tokens that a call took, as a server counts them; None where it does not say."""
    exchange = judged.exchange
    if judged.usage is not None:
        return judged.usage.total_tokens
    if isinstance(exchange, Reply):
        return None if 200 <= exchange.status < 300 else 0
    return None if exchange.sent else 0


def _result(judged: Judged) -> Result:
    """What a call says of the load that the endpoint can take."""
    error = judged.error
    if error is None:
        return "ok"
    if error.type == "rate_limit":
        return "refused"
    if error.type in _FAILURES:
        return "failed"
    return "nothing"
