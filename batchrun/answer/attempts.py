"""One step at one model: attempts until it answers, fails, or is closed.

Nothing is decided here: `policy` says what follows from a failure, `admission` when a call may go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batchrun.admission import Admitting, Unavailable
from batchrun.admission.states import Reason
from batchrun.answer.calls import Caller
from batchrun.answer.task import OutOfTimeError, Question, RowProgress, StepKey, Task
from batchrun.chat.response.completion import Completion
from batchrun.clock import Clock
from batchrun.job import ANY_MODEL, ModelChoice
from batchrun.outcome import PASSING, Error, Exchange, Failed, NoResponse, Response
from batchrun.policy.decision import (
    Action,
    CloseEndpoint,
    CloseModel,
    NextModel,
    PauseEndpoint,
    Retry,
    RetryRules,
    decide,
)
from batchrun.policy.judge import CallOutcome, judge
from batchrun.policy.retry_after import retry_after, should_retry
from batchrun.value import value


@value(frozen=True, slots=True)
class Answer:
    """A completion, the call that gave it, and the model of the chain that was asked."""

    completion: Completion
    call: int
    model_index: int


@dataclass(slots=True)
class _Failures:
    """The failed attempts of one row at one model."""

    failed: int = 0
    rate_limited_in_a_row: int = 0

    def note(self, error: Error) -> None:
        if error.type == "rate_limit":
            self.rate_limited_in_a_row += 1
        else:
            self.rate_limited_in_a_row = 0
            self.failed += 1


class Attempts:
    """Asks one model at a time.

    `jitter` gives numbers in [0, 1); `log` takes an event's name and fields; `advise` is told the first
    time that a model finds a request invalid.
    """

    def __init__(
        self,
        caller: Caller,
        admission: Admitting,
        retry: RetryRules,
        *,
        clock: Clock,
        jitter: Callable[[], float],
        log: Callable[..., None],
        advise: Callable[[int, Error], None],
    ) -> None:
        self._caller = caller
        self._admission = admission
        self._retry = retry
        self._clock = clock
        self._jitter = jitter
        self._log = log
        self._advise = advise
        self._advised: set[int] = set()
        self.resting = 0
        """Rows that wait to try again."""

    async def ask(self, question: Question) -> Answer | Failed | Unavailable:
        """Ask one model until it answers, fails, or is closed. Raises OutOfTimeError."""
        model, progress = question.model, question.progress
        failures, renewed = _Failures(), False
        while True:
            judged = await self._caller.call(question)
            if isinstance(judged, Unavailable):
                return judged
            if judged.completion is not None:
                return Answer(judged.completion, progress.answered, question.model_index)
            assert judged.error is not None, "no completion"
            if self._clock.monotonic() >= progress.deadline:
                raise OutOfTimeError
            renewed = not renewed and _has_new_key(judged.exchange)
            if renewed or self._is_out_of_reach(model, judged.exchange):
                continue  # admission lets the row wait, go on to another model, or says Unavailable
            failures.note(judged.error)
            if judged.error.type == "invalid_request" and question.model_index not in self._advised:
                self._advised.add(question.model_index)
                self._advise(question.model_index, judged.error)
            action = self._decide(model, judged, judged.error, failures)
            if isinstance(action, Retry):
                await self._rest(action.after, progress)
            elif isinstance(action, PauseEndpoint):
                self._pause(model, action.seconds, judged.error)
                await self._rest(action.row_wait, progress)
            elif isinstance(action, NextModel):
                if action.pause:
                    self._pause(model, action.pause, judged.error)
                return Failed(judged.error)
            else:
                self._close(model, judged.error, action)  # so the next look at the gate gives `Unavailable`

    async def _rest(self, seconds: float, progress: RowProgress) -> None:
        self.resting += 1
        try:
            with progress.in_time(self._clock):
                await self._clock.sleep(seconds)
        finally:
            self.resting -= 1

    def recorded_failure(self, task: Task, step: StepKey, model: ModelChoice) -> Failed | None:
        """What an earlier submit received from this model, where asking again cannot change it.

        Attempts that may go better now count anew.
        """
        for sent, answered in task.history.replayable():
            if sent.model != model.qualified_name or sent.step_digest != step.digest:
                continue
            judged = judge(answered.exchange)
            if judged.error is None or judged.error.type in PASSING:
                continue
            if isinstance(self._decide(model, judged, judged.error, _Failures()), NextModel):
                return Failed(judged.error)
        return None

    def _is_out_of_reach(self, model: ModelChoice, exchange: Exchange) -> bool:
        """Whether the call did not arrive at an endpoint that is down: that costs no row an attempt."""
        unsent = isinstance(exchange, NoResponse) and not exchange.sent
        return unsent and self._admission.circuit_is_open(model.endpoint)

    def _decide(self, model: ModelChoice, judged: CallOutcome, error: Error, failures: _Failures) -> Action:
        headers = judged.exchange.headers if isinstance(judged.exchange, Response) else {}
        action = decide(
            error,
            attempt=failures.failed,
            rate_limited=failures.rate_limited_in_a_row,
            endpoint_rate_limited=self._caller.rate_limited.get(model.endpoint, 0),
            retry_after=retry_after(headers, self._clock.wall(), error),
            should_retry=should_retry(headers),
            jitter=self._jitter(),
            retry=self._retry,
        )
        if isinstance(action, CloseModel) and model.name == ANY_MODEL:
            return NextModel()  # the row named the model: it says nothing about the others'
        return action

    def _pause(self, model: ModelChoice, seconds: float, error: Error) -> None:
        if seconds > 0:
            self._log("pause", endpoint=model.endpoint, seconds=round(seconds, 3), reason=error.message)
        reason: Reason = "rate limit" if error.type == "rate_limit" else "retry-after"
        self._admission.pause(model.endpoint, self._clock.monotonic() + seconds, reason)

    def _close(self, model: ModelChoice, error: Error, action: CloseEndpoint | CloseModel) -> None:
        name = model.name if isinstance(action, CloseModel) else None
        seconds = action.seconds if isinstance(action, CloseEndpoint) else None
        self._log(
            "close",
            endpoint=model.endpoint,
            model=name,
            seconds=seconds,
            error_type=error.type,
            reason=error.message,
        )
        self._admission.close(model.endpoint, error, model=name, seconds=seconds)


def _has_new_key(exchange: Exchange) -> bool:
    """Whether the call's key was refused, and there is another one now: that is no attempt of the row."""
    return isinstance(exchange, Response) and exchange.renewed
