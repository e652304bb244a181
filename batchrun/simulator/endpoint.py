"""The endpoint itself: takes the requests of its connections, answers them, and keeps the ledger."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import replace

from batchrun.simulator import answers, refusal, stored
from batchrun.simulator.answers import HttpAnswer, Outcome
from batchrun.simulator.batches.batching import ROOTS, Batching, departure
from batchrun.simulator.config import BatchFault, SimulatorConfig
from batchrun.simulator.connection import Connection, HttpRequest, UnreadableError
from batchrun.simulator.delivery import Close, Reset, Send, Step, Wait, steps
from batchrun.simulator.faults import Conversations, Occasion, choose, spoil_stored
from batchrun.simulator.keys import Keys
from batchrun.simulator.ledger import Ledger
from batchrun.simulator.limits.limits import ModelLimits
from batchrun.simulator.limits.places import Places
from batchrun.simulator.making.draws import latency, slowed
from batchrun.simulator.prompt_cache import PromptCache
from batchrun.simulator.reading.request import ChatRequest, Received, receive
from batchrun.simulator.refusal import Refusal
from batchrun.simulator.replying.reply import Setting, completion
from batchrun.simulator.replying.usage import cost
from batchrun.simulator.rules import ErrorInside, Fault, StatusFault
from batchrun.simulator.stored import StoredCompletions

ANY_MODEL = "simulated"
"""The model that is listed when any name is taken."""


class Simulator:
    """Answers requests; it remembers its limits, its cache and how often it saw each request (100 bytes)."""

    def __init__(self, config: SimulatorConfig, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger
        self._limits: dict[str, ModelLimits] = {}
        self._seen = Conversations(follow=any(fault.per == "conversation" for fault in config.faults))
        self._keys = Keys(config)
        self._cache = PromptCache(config.cache) if config.cache else None
        few = config.limits.concurrency is not None or config.slowdown is not None
        self._places = Places(config.limits.concurrency, self._now) if few else None
        self._batching = Batching(config.batches, self._answer_line, config.seed)
        self._stored = StoredCompletions(config.stored)
        self._first: float | None = None
        self._others = itertools.count(1)

    async def converse(self, connection: Connection) -> None:
        """Answer the requests of one connection until either side ends it."""
        try:
            while request := await connection.next_request():
                goes_on = request.keep_alive
                await self._respond(request, connection)
                del request  # its body may be large, and the next may be long in coming
                if not goes_on:
                    break
        except UnreadableError as error:
            answer = answers.refused(Refusal(error.status, str(error)))
            await self._send(answer, None, connection, keep_alive=False)
        finally:
            connection.close()

    async def _respond(self, request: HttpRequest, connection: Connection) -> None:
        if (request.method, request.path) == ("POST", "/v1/chat/completions"):
            await self._chat(request, connection)
        else:
            answer, fault = self._other(request)
            await self._send(answer, fault, connection, keep_alive=request.keep_alive)

    def _other(self, request: HttpRequest) -> tuple[HttpAnswer, BatchFault | None]:
        """The answer to what is no call, and so none of the ledger's business; how it leaves."""
        if (request.method, request.path) == ("GET", "/v1/models"):
            return answers.model_list(self._config.models or (ANY_MODEL,), int(time.time())), None
        if not request.path.startswith((*ROOTS, stored.ROOT)):
            return answers.refused(refusal.not_found(request.method, request.path)), None
        if not self._keys.take(request.authorization):
            return answers.refused(refusal.wrong_key()), None
        if request.path.startswith(ROOTS):
            return self._batching.answer(request)
        return self._stored.answer(request), None

    async def _send(
        self, answer: HttpAnswer, fault: BatchFault | None, connection: Connection, *, keep_alive: bool
    ) -> None:
        head = answer.head(f"req_other_{next(self._others)}", {}, keep_alive=keep_alive)
        for step in departure(head, answer.body, fault):
            await _perform(step, connection)

    def _now(self) -> float:
        """Seconds since the first call."""
        now = time.monotonic()
        if self._first is None:
            self._first = now
        return now - self._first

    async def _chat(self, http: HttpRequest, connection: Connection) -> None:
        self._now()  # the first call begins the time
        received = receive(http.body, self._config, api_key_ok=self._keys.take(http.authorization))
        request = received.content
        call = self._enter(received)
        limits: dict[str, str] = {}
        if isinstance(request, Refusal):
            outcome = Outcome(answers.refused(request))
        else:
            outcome = await self._admit(request, call)
            limits = self._limits[request.model].headers(self._now(), time.time())
        head = outcome.answer.head(_request_id(call), limits, keep_alive=http.keep_alive)
        await self._deliver(call, outcome, head, connection)

    def _enter(self, received: Received) -> int:
        """Enter a call into the ledger; its number."""
        request = received.content
        return self._ledger.call(
            model=received.model,
            key=received.key,
            prompt=received.question,
            prompt_tokens=request.prompt_tokens if isinstance(request, ChatRequest) else 0,
            api_key_ok=received.api_key_ok,
            body=received.members if self._config.bodies else None,
        )

    async def _admit(self, request: ChatRequest, call: int) -> Outcome:
        """Refuse the call when there are too many, else answer it."""
        rule = self._config.limits
        limits = self._limits.get(request.model)
        if limits is None:
            limits = self._limits[request.model] = ModelLimits(rule)
        if not rule.queue and self._places and (most := self._places.full) is not None:
            return self._later(refusal.busy(most, rule.retry_after))
        if over := limits.admit(self._now(), request.estimate):
            return self._later(refusal.over_limit(request.model, over, rule.retry_after))
        # Counted here, not on arrival: the fault a retry meets must not depend on the 429s before it.
        nth, turn = self._seen.count(request)
        fault = choose(self._config.faults, Occasion(request, call, nth, turn), self._config.seed)
        if isinstance(fault, StatusFault) and request.fallback_model:
            request, fault = replace(request, model=request.fallback_model), None
        if isinstance(fault, StatusFault) and fault.status < 500:
            return Outcome(answers.injected(fault), fault)
        prefixes = self._cache.prefixes(request) if self._cache else ()
        cached = await self._take_time(request, nth, prefixes)
        if isinstance(fault, StatusFault):
            return Outcome(answers.injected(fault), fault)
        outcome = self._complete(Occasion(request, call, nth), fault, cached)
        if self._cache and outcome.billed:
            self._cache.keep(self._now(), prefixes)
        limits.settle(self._now(), outcome.usage["total_tokens"] if outcome.usage else request.prompt_tokens)
        return outcome

    def close(self) -> None:
        """Stop what works without a connection."""
        self._batching.close()

    def _answer_line(self, body: bytes) -> tuple[int, bytes]:
        """Answer a line of a batch: a call like any other, at a batch's price and without limits."""
        received = receive(body, self._config)
        request = received.content
        call = self._enter(received)
        if isinstance(request, Refusal):
            outcome = Outcome(answers.refused(request))
        else:
            nth, turn = self._seen.count(request)
            fault = choose(self._config.faults, Occasion(request, call, nth, turn), self._config.seed)
            if isinstance(fault, StatusFault):
                outcome = Outcome(answers.injected(fault), fault)
            else:
                whole = replace(request, stream=False) if request.stream else request
                outcome = self._complete(Occasion(whole, call, nth), None, 0)
        note = replace(outcome.note(), status=outcome.answer.status, delivered=True)
        if note.cost_usd is not None:
            note = replace(note, cost_usd=note.cost_usd * self._config.batches.price)
        self._ledger.answer(call, note)
        return outcome.answer.status, outcome.answer.body

    def _later(self, refused: Refusal) -> Outcome:
        return Outcome(answers.refused(refused, self._config.limits, time.time()))

    async def _take_time(self, request: ChatRequest, nth: int, prefixes: Sequence[int]) -> int:
        """Generate: in a place where places are counted, and to the end even when the client has left.

        Returns the tokens of the prompt that were in the cache when that began.
        """
        seconds = latency(self._config.latency, self._config.seed, request.key, nth)
        if self._places is None:
            cached = self._found(prefixes)
            if seconds:
                await asyncio.sleep(seconds)
            return cached
        async with self._places as taken:
            cached = self._found(prefixes)
            await asyncio.sleep(slowed(seconds, taken, self._config.slowdown))
        return cached

    def _found(self, prefixes: Sequence[int]) -> int:
        return self._cache.cached(self._now(), prefixes) if self._cache else 0

    def _complete(self, occasion: Occasion, fault: Fault | None, cached: int) -> Outcome:
        """The completion, which is billed and kept now: whether it can be delivered is seen later."""
        request, prices = occasion.request, self._config.cost
        found = completion(
            request,
            Setting(
                seed=self._config.seed,
                created=int(time.time()),
                call_id=f"{request.key[:24]}{occasion.nth:04d}",
                room=self._config.context_window - request.prompt_tokens,
                reasoning=self._config.reasoning,
                fault=fault,
                cached=cached,
                prices=prices if prices and prices.report else None,
            ),
        )
        answer = answers.completed(request, found, fault)
        if isinstance(fault, ErrorInside):
            return Outcome(answer, fault)
        self._stored.keep(request, spoil_stored(found, fault), _request_id(occasion.call))
        usage = found["usage"]
        paid = cost(usage, prices) if prices else None
        return Outcome(answer, fault, billed=True, usage=usage, cost_usd=paid)

    async def _deliver(self, call: int, outcome: Outcome, head: bytes, connection: Connection) -> None:
        """Perform the steps of the delivery, and note in the ledger how far it came."""
        *before, last = steps(head, outcome.answer.body, outcome.fault)
        note = outcome.note()
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


def _request_id(call: int) -> str:
    return f"req_{call:012d}"


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
