"""One call: admission, the `sent` record, the exchange, the `answer` record, and what is learned from it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import anyio
import anyio.lowlevel

from batchrun.admission import Admitting, Permit, Unavailable
from batchrun.admission.gate import CallFeedback
from batchrun.answer.feedback import FAILURES, feedback_of
from batchrun.answer.in_flight import InFlightCall, InFlightCalls
from batchrun.answer.needs import Estimator, Needs
from batchrun.answer.recovery import Recovery, note_received
from batchrun.answer.tail import Latencies
from batchrun.answer.task import OutOfTimeError, Question
from batchrun.budget import Amounts
from batchrun.client import EndpointClient
from batchrun.client.body import MAX_ERROR_BODY
from batchrun.clock import Clock
from batchrun.errors import BudgetExhaustedError, OpenFilesError
from batchrun.job import ANY_MODEL, ModelChoice
from batchrun.outcome import Error, Exchange, NoResponse, Response
from batchrun.policy.judge import CallOutcome, judge
from batchrun.prices import ModelPrices
from batchrun.render.request import RowRequest
from batchrun.run_folder.journal.journal import Recorder
from batchrun.run_folder.journal.records import Answered, Sent
from batchrun.spending.paid import cost_of, paid, taken
from batchrun.summary import Counters
from batchrun.value import value

_NO_FILES = re.compile(r"\(os error (23|24)\)")
"""How the client's library names ENFILE and EMFILE."""

_HEDGED = Error("cancelled", "a copy of this call was answered first")


@value(frozen=True, slots=True)
class _Call:
    """What is asked, and what that takes."""

    question: Question
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
        in_flight_calls: InFlightCalls,
        counters: Counters,
        clock: Clock,
        recovery: Recovery | None = None,
    ) -> None:
        self._clients = clients
        self._admission = admission
        self._journal = journal
        self._in_flight_calls = in_flight_calls
        self._counters = counters
        self._clock = clock
        self._recovery = recovery
        self.rate_limited: dict[str, int] = {}
        """429s in a row, by endpoint; those of calls that were under way at the first are one with it."""
        self._rate_limited_at: dict[str, float] = {}
        """When the last of these came, in monotonic seconds."""
        self.latencies = [Latencies() for _ in models]
        self._estimator = Estimator(models, prices, admission.budget)

    async def call(self, question: Question) -> CallOutcome | Unavailable:
        """Put a question to its model once when it may go, or say that the model is closed.

        `progress.answered` is the call that answered. Raises BudgetExhaustedError when it cannot be paid, and
        OutOfTimeError.
        """
        if self._in_flight_calls.is_draining:  # a call that has landed must not start another
            await anyio.lowlevel.checkpoint()
        call = _Call(question, self._needs(question))
        await self._journal.ready()  # not after admission: a Retry-After could arrive meanwhile
        permit = await self._admitted(call, question.leave_for)
        if isinstance(permit, Unavailable):
            return permit
        with permit:
            second: list[tuple[int, CallOutcome]] = []
            flight = InFlightCall(
                question.model_index,
                self._clock.monotonic(),
                lambda flight: self._copy(call, flight, second),
            )
            ended = await self._send(call, permit, flight)
            if flight.copy_ended:
                await self._end_copy(flight, flight.copy_ended, ended)
            if second and (ended is None or ended[1].completion is None):
                ended = second[0]
            if ended is None:  # the drain is over: the call stays as possibly paid
                await anyio.lowlevel.checkpoint()
                raise AssertionError("a call is given up only when the run is cancelled")
        question.progress.answered, judged = ended
        return judged

    def _needs(self, question: Question) -> Needs:
        request = question.task.request
        assert isinstance(request, RowRequest), "others have their outcome"
        return self._estimator.needs(
            request,
            question.model_index,
            question.body,
            is_prompt=not question.step.digest,
            row_id=question.task.row_id,
        )

    async def _admitted(self, call: _Call, leave_for: frozenset[str]) -> Permit | Unavailable:
        model, needs = call.question.model, call.needs
        asked = model.endpoint, model.name, needs.size, needs.bound
        if found := self._admission.at_once(*asked, leave_for=leave_for):
            return found
        while True:
            await self._admission.until_resumed()
            try:
                with call.question.progress.in_time(self._clock):
                    return await self._admission.admit(*asked, leave_for=leave_for)
            except OutOfTimeError:
                if self._clock.monotonic() >= call.question.progress.deadline:
                    raise  # else the run was paused meanwhile, which takes nothing of the row's time

    async def _send(
        self, call: _Call, permit: Permit, flight: InFlightCall
    ) -> tuple[int, CallOutcome] | None:
        """Send it: its number, and what came of it; None when it was given up, and nothing is known."""
        progress = call.question.progress
        number = progress.next_call
        progress.next_call += 1
        sent = self._sent(call, number)
        try:
            await self._journal.begin(sent)
        except BaseException:  # it is not sent, so that nothing can be paid
            permit.finished(CallFeedback("nothing", used=0), Amounts())
            raise
        self._counters.calls += 1
        progress.first_sent = min(progress.first_sent, sent.at)
        exchange: Exchange | None = None
        with self._in_flight_calls.under_way(flight):
            exchange = await self._exchange(call.question, sent, flight)
            self._journal.append(Answered(sent.task, number, self._clock.wall(), exchange))
            _check_open_files(exchange)
        if exchange is None:
            progress.note(number, _HEDGED)
            progress.paid(sent.at, call.needs.bound, None)
            return None
        judged = judge(exchange)
        progress.note(number, judged.error)
        note_received(progress, judged)
        self._finish(call, permit, judged, sent.at, flight.started)
        return number, judged

    async def _exchange(self, question: Question, sent: Sent, flight: InFlightCall) -> Exchange:
        """What comes of the call, or the stored answer where that does not arrive."""
        client = self._clients[sent.endpoint]
        timeout = question.progress.deadline - flight.started
        exchange = _shortened(await client.call(question.body, timeout=timeout))
        if self._recovery is None:
            return exchange
        return await self._recovery.in_place_of(exchange, question.task, sent, question.progress)

    async def _copy(self, call: _Call, flight: InFlightCall, answers: list[tuple[int, CallOutcome]]) -> None:
        """Send the same once more; the first good answer wins, and its rival is given up."""
        assert flight.copy_ended, "it is set where a copy is started"
        with anyio.CancelScope() as flight.copy_scope:
            try:
                if flight.ended or ((budget := self._admission.budget) and not budget.fits(call.needs.bound)):
                    return  # rows that have no call yet go first, and none waits behind a copy
                permit = await self._admitted(call, FAILURES)
                if isinstance(permit, Unavailable):
                    return
                with permit:
                    if flight.ended:  # meanwhile
                        permit.finished(CallFeedback("nothing", used=0), Amounts())
                        return
                    self._counters.hedged += 1
                    flight.rival = InFlightCall(call.question.model_index, self._clock.monotonic())
                    ended = await self._send(call, permit, flight.rival)
            except (BudgetExhaustedError, OutOfTimeError):
                return
            finally:
                flight.copy_ended.set()
            if ended is not None and ended[1].completion is not None:
                answers.append(ended)
                flight.give_up()

    async def _end_copy(
        self, flight: InFlightCall, copy_ended: anyio.Event, ended: tuple[int, CallOutcome] | None
    ) -> None:
        """Give up the copy of a call that has ended: no record of it may come after the row's outcome.

        A call that failed waits for its copy, which may do better, unless the run is stopping.
        """
        flight.ended = True
        failed = ended is not None and ended[1].completion is None
        with anyio.CancelScope(shield=True):  # a copy under way ends with the row's time, or the drain
            if failed and flight.rival is not None and not self._in_flight_calls.is_draining:
                await copy_ended.wait()
            if flight.copy_scope is not None:
                flight.copy_scope.cancel()
            if flight.rival is not None:
                flight.rival.give_up()
            await copy_ended.wait()

    def _finish(
        self, call: _Call, permit: Permit, judged: CallOutcome, sent_at: float, started: float
    ) -> None:
        """Tell gates, budget and counters what came of a call, and learn from it."""
        question, price = call.question, call.needs.price
        endpoint = question.model.endpoint
        amounts, cost = paid(judged, price, sent_at), cost_of(judged, price, sent_at)
        question.progress.paid(sent_at, taken(amounts, call.needs.bound), cost)
        feedback = feedback_of(
            judged,
            row=question.task.number,
            now_wall=self._clock.wall(),
            has_spare=self._clients[endpoint].has_spare,
        )
        permit.finished(feedback, amounts)
        self._counters.paid(judged.bill.usage, cost)
        if isinstance(judged.exchange, Response):
            self._learn(endpoint, judged.error, started)
        if judged.completion is not None:
            self.latencies[question.model_index].add(judged.exchange.latency)
            if judged.bill.usage is not None:
                self._estimator.learn(question.model_index, call.needs, judged.bill.usage)

    def _learn(self, endpoint: str, error: Error | None, started: float) -> None:
        if error is None or error.type != "rate_limit":
            self.rate_limited[endpoint] = 0
        elif started >= self._rate_limited_at.get(endpoint, -math.inf) or not self.rate_limited.get(endpoint):
            self.rate_limited[endpoint] = self.rate_limited.get(endpoint, 0) + 1
            self._rate_limited_at[endpoint] = self._clock.monotonic()

    def _sent(self, call: _Call, number: int) -> Sent:
        question = call.question
        task, model = question.task, question.model
        return Sent(
            task=task.number,
            call=number,
            row=task.row,
            key=task.key,
            request_hash=task.request_hash,
            model=model.qualified_name,
            endpoint=model.endpoint,
            model_index=question.model_index,
            at=self._clock.wall(),
            tokens=call.needs.size.asked,
            bound_usd=call.needs.bound.cost_usd,
            bound_tokens=call.needs.bound.tokens,
            named=call.needs.named if model.name == ANY_MODEL else "",
            step=question.step.number,
            step_digest=question.step.digest,
        )


def _shortened(exchange: Exchange) -> Exchange:
    """A long success that holds no answer, cut as errors are: the journal keeps what an unfinished row has
    received in memory, and such a row is asked again and again."""
    if (
        not isinstance(exchange, Response)
        or len(exchange.body) <= MAX_ERROR_BODY
        or judge(exchange).completion
    ):
        return exchange
    return replace(exchange, body=exchange.body[:MAX_ERROR_BODY])


def _check_open_files(exchange: Exchange) -> None:
    """Raises OpenFilesError when no connection could be opened for want of a file: every other call would
    end alike, and no row is to blame."""
    if isinstance(exchange, NoResponse) and not exchange.sent and _NO_FILES.search(exchange.message):
        raise OpenFilesError(
            f"no connection could be opened: {exchange.message}",
            hint="Raise the limit on open files (`ulimit -n 4096`), or lower limits.concurrency; then submit "
            "again: it continues.",
        )
