"""One call of one row: admitted, written down, sent, and its answer written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel

from batchrun.admission import Admission, Closed
from batchrun.client import Client
from batchrun.clock import Clock
from batchrun.flights import Flights
from batchrun.job import ModelChoice
from batchrun.judge import Judged, judge
from batchrun.outcome import Error, ErrorType, Exchange, Reply
from batchrun.render.request import Request
from batchrun.run_folder.history import History
from batchrun.run_folder.journal import Journal
from batchrun.run_folder.records import Answered, Sent
from batchrun.summary import Counters

_ASSUMED_OUTPUT = 256
"""Tokens reserved for an answer without a limit, until a model has answered."""

_PROVES_NOTHING = frozenset({"auth", "quota", "model_not_found", "server"})
"""Answers that do not show that the endpoint can do its work."""


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
    goes_on: bool = False
    """Whether `history` is of an asking that failed: its records are to be carried into this one's."""


@dataclass(frozen=True, slots=True)
class AskKey:
    """Names one ask of a row: its number, and a digest of what is asked beyond the row's own request."""

    step: int
    digest: str


@dataclass(slots=True)
class Progress:
    """How far a row has come: its next call, and why each call so far did not answer it."""

    next_call: int
    deadline: float
    errors: list[ErrorType | None]

    def note(self, call: int, error: Error | None) -> None:
        """Remember why a call did not answer the row, or that it did."""
        self.errors.extend([None] * (call + 1 - len(self.errors)))
        self.errors[call] = error.type if error else None


class Caller:
    """Sends calls. `clients` by endpoint."""

    def __init__(
        self,
        models: Sequence[ModelChoice],
        clients: Mapping[str, Client],
        admission: Admission,
        journal: Journal,
        flights: Flights,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self._models = models
        self._clients = clients
        self._admission = admission
        self._journal = journal
        self._flights = flights
        self._counters = counters
        self._clock = clock
        self.answered: set[str] = set()
        """The endpoints that have ever answered in this run."""
        self.refusals: dict[str, int] = {}
        """429s in a row, by endpoint."""
        self._output_tokens = dict.fromkeys(range(len(models)), float(_ASSUMED_OUTPUT))

    async def call(
        self, task: Task, ask: AskKey, index: int, body: bytes, progress: Progress
    ) -> Judged | Closed:
        """Send `body` to a model once when it may go, or say that the model is closed."""
        await anyio.lowlevel.checkpoint_if_cancelled()  # a call that has landed must not start another
        model = self._models[index]
        assert isinstance(task.request, Request)
        tokens = task.request.estimated_tokens(body) + self._reserved_output(task.request, index)
        await self._journal.ready()  # not after admission: a Retry-After could arrive meanwhile
        async with self._admission.admit(model.endpoint, model.name, tokens) as permit:
            if isinstance(permit, Closed):
                return permit
            call = progress.next_call
            progress.next_call += 1
            self._journal.append(self._sent(task, call, ask, index, tokens))
            self._counters.calls += 1
            exchange: Exchange | None = None
            with self._flights.flying():
                left = progress.deadline - self._clock.monotonic()
                exchange = await self._clients[model.endpoint].call(body, timeout=left)
                self._journal.append(Answered(task.number, call, self._clock.wall(), exchange))
            if exchange is None:  # the drain is over: the call stays in the journal as possibly paid
                await anyio.lowlevel.checkpoint()
                raise AssertionError("a call is given up only when the run is cancelled")
            judged = judge(exchange)
            progress.note(call, judged.error)
            if isinstance(exchange, Reply):
                self._learn(model.endpoint, judged.error)
                permit.settle(self._used(judged, index))
                if judged.error is None or judged.error.type not in _PROVES_NOTHING:
                    permit.answered()
        return judged

    def _learn(self, endpoint: str, error: Error | None) -> None:
        self.answered.add(endpoint)
        refused = error is not None and error.type == "rate_limit"
        self.refusals[endpoint] = self.refusals.get(endpoint, 0) + 1 if refused else 0

    def _sent(self, task: Task, call: int, ask: AskKey, index: int, tokens: int) -> Sent:
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
            step=ask.step,
            ask=ask.digest,
        )

    def _reserved_output(self, request: Request, index: int) -> int:
        """Tokens an answer may take: as many as the request allows, else what this model has used."""
        parameters = request.parameters(index)
        limit = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
        choices = parameters.get("n", 1)
        if not isinstance(limit, int) or not isinstance(choices, int):
            return round(self._output_tokens[index])
        return limit * choices

    def _used(self, judged: Judged, index: int) -> int:
        """What a call used in fact, 0 where the server does not say; an answer teaches the reservation."""
        usage = judged.usage
        if usage is None:
            return 0
        self._counters.prompt_tokens += usage.prompt_tokens or 0
        self._counters.completion_tokens += usage.completion_tokens or 0
        if judged.completion is not None and usage.completion_tokens is not None:
            self._output_tokens[index] += 0.05 * (usage.completion_tokens - self._output_tokens[index])
        return usage.total_tokens or 0
