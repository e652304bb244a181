"""The endpoint itself: takes the requests of its connections, answers them, and keeps the ledger."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, replace

from batchrun.simulator import answers, refusal
from batchrun.simulator.answers import HttpAnswer
from batchrun.simulator.config import SimulatorConfig
from batchrun.simulator.connection import Connection, HttpRequest, UnreadableError
from batchrun.simulator.conversations import Conversations
from batchrun.simulator.delivery import Close, Reset, Send, Step, Wait, steps
from batchrun.simulator.draws import latency
from batchrun.simulator.faults import Occasion, choose, name_of
from batchrun.simulator.intake import receive
from batchrun.simulator.ledger import Answer, Ledger
from batchrun.simulator.limits import ModelLimits
from batchrun.simulator.refusal import Refusal
from batchrun.simulator.reply import Setting, completion
from batchrun.simulator.request import ChatRequest
from batchrun.simulator.rules import ErrorInside, Fault, StatusFault

ANY_MODEL = "simulated"
"""The model that is listed when any name is taken."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a call came to, before it is delivered."""

    answer: HttpAnswer
    fault: Fault | None = None
    billed: bool = False
    tokens: int = 0


class Simulator:
    """Answers requests; what it remembers is its limits and how often it saw each request (100 bytes)."""

    def __init__(self, config: SimulatorConfig, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger
        self._limits: dict[str, ModelLimits] = {}
        self._seen = Conversations(follow=any(fault.per == "conversation" for fault in config.faults))
        self._slots = asyncio.Semaphore(config.limits.concurrency) if config.limits.concurrency else None
        self._others = itertools.count(1)

    async def converse(self, connection: Connection) -> None:
        """Answer the requests of one connection until either side ends it."""
        try:
            while request := await connection.next_request():
                await self._respond(request, connection)
                if not request.keep_alive:
                    break
        except UnreadableError as error:
            answer = answers.refused(Refusal(error.status, str(error)))
            await self._send_plain(answer, connection, keep_alive=False)
        finally:
            connection.close()

    async def _respond(self, request: HttpRequest, connection: Connection) -> None:
        match request.method, request.path:
            case "POST", "/v1/chat/completions":
                await self._chat(request, connection)
            case "GET", "/v1/models":
                models = self._config.models or (ANY_MODEL,)
                answer = answers.model_list(models, int(time.time()))
                await self._send_plain(answer, connection, keep_alive=request.keep_alive)
            case _:
                answer = answers.refused(refusal.not_found(request.method, request.path))
                await self._send_plain(answer, connection, keep_alive=request.keep_alive)

    async def _send_plain(self, answer: HttpAnswer, connection: Connection, *, keep_alive: bool) -> None:
        """Send an answer that is none of the ledger's business."""
        head = answer.head(f"req_other_{next(self._others)}", {}, keep_alive=keep_alive)
        await connection.send(head + answer.body)

    async def _chat(self, http: HttpRequest, connection: Connection) -> None:
        received = receive(http.body, http.authorization, self._config)
        request = received.content
        call = self._ledger.call(
            model=received.model,
            key=received.key,
            prompt=received.question,
            prompt_tokens=request.prompt_tokens if isinstance(request, ChatRequest) else 0,
            api_key_ok=received.api_key_ok,
            body=received.members if self._config.bodies else None,
        )
        limits: dict[str, str] = {}
        if isinstance(request, Refusal):
            outcome = _Outcome(answers.refused(request))
        else:
            outcome = await self._admit(request, call)
            limits = self._limits[request.model].headers(time.monotonic())
        head = outcome.answer.head(f"req_{call:012d}", limits, keep_alive=http.keep_alive)
        await self._deliver(call, outcome, head, connection)

    async def _admit(self, request: ChatRequest, call: int) -> _Outcome:
        """Refuse the call when there are too many, else answer it."""
        limits = self._limits.setdefault(request.model, ModelLimits(self._config.limits))
        concurrency = self._config.limits.concurrency
        if concurrency and not self._config.limits.queue and self._slots and self._slots.locked():
            return _Outcome(answers.refused(refusal.busy(concurrency)))
        if over := limits.admit(time.monotonic(), request.estimate):
            return _Outcome(answers.refused(refusal.over_limit(request.model, over)))
        # Counted here, not on arrival: the fault a retry meets must not depend on the 429s before it.
        nth, turn = self._seen.count(request)
        fault = choose(self._config.faults, Occasion(request, call, nth, turn), self._config.seed)
        if isinstance(fault, StatusFault) and fault.status < 500:
            return _Outcome(answers.injected(fault), fault)
        await self._take_time(request, nth)
        if isinstance(fault, StatusFault):
            return _Outcome(answers.injected(fault), fault)
        outcome = self._complete(request, nth, fault)
        limits.settle(time.monotonic(), request.prompt_tokens + outcome.tokens)
        return outcome

    async def _take_time(self, request: ChatRequest, nth: int) -> None:
        """Generate: in a slot where there are slots, and to the end even when the client has left."""
        seconds = latency(self._config.latency, self._config.seed, request.key, nth)
        if self._slots is None:
            if seconds:
                await asyncio.sleep(seconds)
            return
        async with self._slots:
            await asyncio.sleep(seconds)

    def _complete(self, request: ChatRequest, nth: int, fault: Fault | None) -> _Outcome:
        found = completion(
            request,
            Setting(
                seed=self._config.seed,
                created=int(time.time()),
                call_id=f"{request.key[:24]}{nth:04d}",
                room=self._config.context_window - request.prompt_tokens,
                reasoning=self._config.reasoning,
                fault=fault,
            ),
        )
        answer = answers.completed(request, found, fault)
        if isinstance(fault, ErrorInside):
            return _Outcome(answer, fault)
        return _Outcome(answer, fault, billed=True, tokens=found["usage"]["completion_tokens"])

    async def _deliver(self, call: int, outcome: _Outcome, head: bytes, connection: Connection) -> None:
        """Perform the steps of the delivery, and note in the ledger how far it came."""
        *before, last = steps(head, outcome.answer.body, outcome.fault)
        note = _note(outcome)
        for step in before:
            if isinstance(step, Send) and not connection.lost:
                note = replace(note, status=outcome.answer.status)
            await _perform(step, connection)
        if not isinstance(last, Send) or connection.lost:
            self._ledger.answer(call, note)
            await _perform(last, connection)
            return
        whole = replace(note, status=outcome.answer.status, delivered=True)
        self._ledger.answer(call, whole)
        if not await connection.send(last.data):
            self._ledger.correct(call, whole, replace(whole, delivered=False))


def _note(outcome: _Outcome) -> Answer:
    """What the ledger says of an outcome before any of it has left."""
    return Answer(
        at=time.time(),
        status=None,
        delivered=False,
        billed=outcome.billed,
        retry_after=outcome.answer.retry_after,
        fault=name_of(outcome.fault),
        completion_tokens=outcome.tokens,
    )


async def _perform(step: Step, connection: Connection) -> None:
    """One step of a delivery; none does anything once the connection is lost."""
    match step:
        case Send(data=data):
            await connection.send(data)
        case Wait(seconds=seconds):
            await connection.wait(seconds)
        case Reset():
            connection.reset()
        case Close():
            connection.close()
