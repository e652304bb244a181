"""One row to its outcome: models in order, attempts at each, what was received before replayed first.

The loop decides nothing by itself: `chat` reads answers, `policy` says what follows from a failure,
`admission` when a call may go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel

from batchrun.admission import Admission, Closed
from batchrun.chat.completion import Completion
from batchrun.client import Client
from batchrun.clock import Clock
from batchrun.flights import Flights
from batchrun.gate import Reason
from batchrun.job import ModelChoice
from batchrun.judge import Judged, judge
from batchrun.outcome import (
    Completed,
    Error,
    ErrorType,
    Exchange,
    Failed,
    Outcome,
    Reply,
    Unanswered,
)
from batchrun.policy import (
    Action,
    CloseEndpoint,
    CloseModel,
    NextModel,
    PauseEndpoint,
    Retry,
    RetryRules,
    decide,
)
from batchrun.render import RenderError, Request, estimated_tokens
from batchrun.retry_after import retry_after, should_retry
from batchrun.run_folder.history import History
from batchrun.run_folder.journal import Journal
from batchrun.run_folder.records import Answered, Done, Sent
from batchrun.summary import Counters

_ASSUMED_OUTPUT = 256
"""Tokens reserved for an answer without a limit, until a model has answered."""


_PROVES_NOTHING = frozenset({"auth", "quota", "model_not_found", "server"})
"""Answers that do not show that the endpoint can do its work."""


_REASONS: dict[bool, Reason] = {True: "retry-after", False: "rate limit"}
"""What a pause is called, by whether the server named its length."""


@dataclass(frozen=True, slots=True)
class Task:
    """A row to be answered.

    `models` are the positions in the chain to ask, in order; `history` holds what an earlier,
    killed submit received for this row.
    """

    number: int
    row: int
    row_id: str
    key: int
    request_hash: str
    request: Request | Error
    models: tuple[int, ...]
    history: History = field(default_factory=History)
    earlier: dict[str, Any] | None = None
    """What the row took when it failed before (`Done.earlier`)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a job says of failures; times in seconds."""

    retry: RetryRules
    row_timeout: float
    fallback_on: frozenset[str]
    fail_on: frozenset[str]


@dataclass(slots=True)
class _Progress:
    """How far a row has come: its next call, and why each call so far did not answer it."""

    next_call: int
    deadline: float
    errors: list[ErrorType | None]

    def note(self, call: int, error: Error | None) -> None:
        self.errors.extend([None] * (call + 1 - len(self.errors)))
        self.errors[call] = error.type if error else None


@dataclass(slots=True)
class _Attempts:
    """The failed attempts of one row at one model."""

    failed: int = 0
    refused_in_a_row: int = 0

    def note(self, error: Error) -> None:
        if error.type == "rate_limit":
            self.refused_in_a_row += 1
        else:
            self.refused_in_a_row = 0
            self.failed += 1


class Answerer:
    """Takes rows through the models of a job.

    `clients` by endpoint; `jitter` gives numbers in [0, 1); `log` takes an event's name and fields.
    """

    def __init__(
        self,
        models: tuple[ModelChoice, ...],
        clients: Mapping[str, Client],
        admission: Admission,
        journal: Journal,
        flights: Flights,
        rules: Rules,
        counters: Counters,
        *,
        clock: Clock,
        jitter: Callable[[], float],
        log: Callable[..., None],
    ) -> None:
        self._models = models
        self._clients = clients
        self._admission = admission
        self._journal = journal
        self._flights = flights
        self._rules = rules
        self._counters = counters
        self._clock = clock
        self._jitter = jitter
        self._log = log
        self._answered: set[str] = set()
        self._unreached: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        """429s in a row, by endpoint."""
        self._output_tokens = dict.fromkeys(range(len(models)), float(_ASSUMED_OUTPUT))

    async def answer(self, task: Task) -> Done | Closed:
        """Ask for one row and give its outcome, not yet recorded.

        Gives what is closed instead when no model may be asked: the row stays pending. Raises
        StorageError when the journal cannot be written.
        """
        if isinstance(task.request, Error):
            return self._done(task, Failed(task.request), (), 0)
        timeout = self._rules.row_timeout
        progress = _Progress(max(task.history.sent, default=-1) + 1, self._clock.monotonic() + timeout, [])
        index = task.models[0]
        result: Outcome | Closed = Failed(Error("timeout", f"the row took longer than {timeout:g} s in all"))
        with anyio.move_on_after(timeout):
            result, index = self._recorded_answer(task, progress) or await self._through_models(
                task, progress
            )
        if isinstance(result, Closed):
            return result
        return self._done(task, result, tuple(progress.errors), index)

    def _done(self, task: Task, outcome: Outcome, errors: tuple[ErrorType | None, ...], index: int) -> Done:
        return Done(
            task=task.number,
            row=task.row,
            row_id=task.row_id,
            key=task.key,
            request_hash=task.request_hash,
            at=self._clock.wall(),
            model_index=index,
            outcome=outcome,
            errors=errors,
            earlier=task.earlier,
        )

    def _recorded_answer(self, task: Task, progress: _Progress) -> tuple[Completed, int] | None:
        """The answer that an earlier submit received for the row, whichever model gave it."""
        for call, answered in sorted(task.history.answered.items()):
            judged = judge(answered.exchange, self._rules.fail_on)
            progress.note(call, judged.error)
            if judged.error is None:
                return Completed(call), task.history.sent[call].model_index
        return None

    async def _through_models(self, task: Task, progress: _Progress) -> tuple[Outcome | Closed, int]:
        """Ask the task's models in order, as far as `fallback_on` allows."""
        failed: Failed | None = None
        closed: Closed | None = None
        asked: list[int] = []
        decided = task.models[0]
        for index in task.models:
            asked.append(index)
            result = await self._ask(task, index, progress)
            if isinstance(result, Completed):
                return result, index
            if isinstance(result, Closed):
                closed, reason = closed or result, result.reason
            else:
                failed, decided, reason = result, index, result.error
            if reason.type not in self._rules.fallback_on:
                break
        if failed is None and self._any_open(asked):  # one has opened again meanwhile
            return await self._through_models(task, progress)
        assert failed or closed, "each model gave one of both"
        return failed or closed, decided  # type: ignore[return-value] # the line above

    def _any_open(self, models: Iterable[int]) -> bool:
        asked = (self._models[index] for index in models)
        return any(self._admission.is_open(model.endpoint, model.name) for model in asked)

    async def _ask(self, task: Task, index: int, progress: _Progress) -> Completed | Failed | Closed:
        """Ask one model until it answers, fails, or is closed."""
        assert isinstance(task.request, Request)
        refused = self._recorded_refusal(task, index)
        if refused is not None:
            return refused
        attempts = _Attempts()
        try:
            body = task.request.body(index)
        except RenderError as failure:
            return Failed(failure.error)
        while True:
            judged = await self._call(task, task.request, index, body, progress)
            if isinstance(judged, Closed):
                return judged
            call = progress.next_call - 1
            progress.note(call, judged.error)
            if judged.error is None:
                return Completed(call)
            if self._is_out_of_reach(index, judged.exchange):
                self._wait_for_endpoint(index, judged, judged.error)
                continue
            attempts.note(judged.error)
            action = self._decide(index, judged, judged.error, attempts)
            if isinstance(action, Retry):
                await self._clock.sleep(action.after)
            elif isinstance(action, PauseEndpoint):
                self._pause(index, action.seconds, judged.error, _REASONS[action.told])
                await self._clock.sleep(action.row_wait)
            elif isinstance(action, NextModel):
                if action.pause:
                    self._pause(index, action.pause, judged.error, "retry-after")
                return Failed(judged.error, call if judged.completion else None)
            else:
                self._close(index, judged.error, action)  # so the next look at the gate gives `Closed`

    def _recorded_refusal(self, task: Task, index: int) -> Failed | None:
        """What an earlier submit received from this model, where asking again cannot change it.

        Attempts that may go better now count anew.
        """
        spelled = self._models[index].spelled
        for call, answered in sorted(task.history.answered.items()):
            if task.history.sent[call].model != spelled:
                continue
            judged = judge(answered.exchange, self._rules.fail_on)
            if judged.error and isinstance(self._decide(index, judged, judged.error, _Attempts()), NextModel):
                return Failed(judged.error, call if judged.completion else None)
        return None

    def _is_out_of_reach(self, index: int, exchange: Exchange) -> bool:
        """Whether nothing has ever reached the endpoint: then it is down, and no row's attempt counts."""
        never_answered = self._models[index].endpoint not in self._answered
        return never_answered and isinstance(exchange, Unanswered) and not exchange.sent

    def _wait_for_endpoint(self, index: int, judged: Judged, error: Error) -> None:
        """Let all rows wait for an endpoint that is down, or close it when it has had its attempts."""
        endpoint = self._models[index].endpoint
        self._unreached[endpoint] += 1
        action = self._decide(index, judged, error, _Attempts(failed=self._unreached[endpoint]))
        if isinstance(action, Retry):
            self._pause(index, action.after, error, "unreachable")
        else:
            self._close(index, error, CloseEndpoint(error, None))

    def _decide(self, index: int, judged: Judged, error: Error, attempts: _Attempts) -> Action:
        headers = judged.exchange.headers if isinstance(judged.exchange, Reply) else {}
        return decide(
            error,
            attempt=attempts.failed,
            refusals=attempts.refused_in_a_row,
            endpoint_refusals=self._refused[self._models[index].endpoint],
            retry_after=retry_after(headers, self._clock.wall(), error.message),
            should_retry=should_retry(headers),
            jitter=self._jitter(),
            retry=self._rules.retry,
        )

    async def _call(
        self, task: Task, request: Request, index: int, body: bytes, progress: _Progress
    ) -> Judged | Closed:
        """Send the row once when it may go, or say that the model is closed."""
        await anyio.lowlevel.checkpoint_if_cancelled()  # a call that has landed must not start another
        model = self._models[index]
        tokens = estimated_tokens(body) + self._reserved_output(request, index)
        await self._journal.ready()  # not after admission: a Retry-After could arrive meanwhile
        async with self._admission.admit(model.endpoint, model.name, tokens) as permit:
            if isinstance(permit, Closed):
                return permit
            call = progress.next_call
            progress.next_call += 1
            self._journal.append(self._sent(task, call, index, tokens))
            self._counters.calls += 1
            exchange: Exchange | None = None
            with self._flights.flying():
                left = progress.deadline - self._clock.monotonic()
                exchange = await self._clients[model.endpoint].call(body, timeout=left)
                self._journal.append(Answered(task.number, call, self._clock.wall(), exchange))
            if exchange is None:  # the drain is over: the call stays in the journal as possibly paid
                await anyio.lowlevel.checkpoint()
                raise AssertionError("a call is given up only when the run is cancelled")
            judged = judge(exchange, self._rules.fail_on)
            if isinstance(exchange, Reply):
                self._answered.add(model.endpoint)
                refused = judged.error is not None and judged.error.type == "rate_limit"
                self._refused[model.endpoint] = self._refused[model.endpoint] + 1 if refused else 0
                permit.settle(self._used(judged.completion, index))
                if judged.error is None or judged.error.type not in _PROVES_NOTHING:
                    permit.answered()
        return judged

    def _sent(self, task: Task, call: int, index: int, tokens: int) -> Sent:
        model = self._models[index]
        return Sent(
            task=task.number,
            call=call,
            row=task.row,
            key=task.key,
            request_hash=task.request_hash,
            model=model.spelled,
            endpoint=model.endpoint,
            model_index=index,
            at=self._clock.wall(),
            tokens=tokens,
        )

    def _reserved_output(self, request: Request, index: int) -> int:
        """Tokens an answer may take: as many as the request allows, else what this model has used."""
        parameters = request.renderer.parameters(index, request.context)
        limit = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
        choices = parameters.get("n", 1)
        if not isinstance(limit, int) or not isinstance(choices, int):
            return round(self._output_tokens[index])
        return limit * choices

    def _used(self, completion: Completion | None, index: int) -> int:
        """What a call used in fact, 0 where the server does not say; teaches the reservation."""
        usage = completion.usage if completion else None
        if usage is None:
            return 0
        self._counters.prompt_tokens += usage.prompt_tokens or 0
        self._counters.completion_tokens += usage.completion_tokens or 0
        if usage.completion_tokens is not None:
            self._output_tokens[index] += 0.05 * (usage.completion_tokens - self._output_tokens[index])
        return usage.total_tokens or 0

    def _pause(self, index: int, seconds: float, error: Error, reason: Reason) -> None:
        endpoint = self._models[index].endpoint
        if seconds > 0:
            self._log("pause", endpoint=endpoint, seconds=round(seconds, 3), reason=error.message)
        self._admission.pause(endpoint, self._clock.monotonic() + seconds, reason)

    def _close(self, index: int, error: Error, action: CloseEndpoint | CloseModel) -> None:
        model = self._models[index]
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
