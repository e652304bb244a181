"""One row to its outcome: its conversation, ask by ask, through the models of the job in order.

What an earlier submit received for the row is replayed first, so that no step is paid for twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
import anyio.to_thread

from batchrun import codec
from batchrun.admission import Admitting, Closed
from batchrun.answer.attempts import Received
from batchrun.answer.recovery import Recovery, note_received
from batchrun.answer.task import AskKey, OutOfTimeError, Progress, Task
from batchrun.budget import Amounts
from batchrun.chat.answer.completion import ToolCall
from batchrun.chat.dialogue import Ask, Dialogue, Rejected, Reply, Run
from batchrun.chat.stamps import Stamp
from batchrun.clock import Clock
from batchrun.index import failure_hash
from batchrun.job import ModelChoice
from batchrun.outcome import NEVER_SENT, Completed, Error, Failed, Outcome
from batchrun.policy.judge import judge
from batchrun.prices import PriceOf
from batchrun.render.evaluate import RenderError
from batchrun.render.request import Request
from batchrun.run_folder.checkpoint.spend import recalled
from batchrun.run_folder.journal.journal import Recorder
from batchrun.run_folder.journal.records import Done, Ran
from batchrun.summary import Counters

TOOL_ERROR = "Error: "
"""How what a function could not do is told to the model."""

_NO_REASON: frozenset[str] = frozenset()

NEVER_ASKED = -1
"""No call yet."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a job says of failures; times in seconds."""

    row_timeout: float
    fallback_on: frozenset[str]


class Tools(Protocol):
    """The functions that a model may call."""

    async def call(self, name: str, arguments: str) -> str:
        """What the function gives, or what is wrong with the call, as text for the model."""
        ...


class Asks(Protocol):
    """Asks one model at a time (`attempts.Asker` says what each method does)."""

    @property
    def resting(self) -> int: ...

    async def ask(
        self,
        task: Task,
        ask: AskKey,
        index: int,
        body: bytes,
        progress: Progress,
        leave_for: frozenset[str] = ...,
    ) -> Received | Failed | Closed: ...

    def recorded_refusal(self, task: Task, ask: AskKey, index: int) -> Failed | None: ...


@dataclass(slots=True)
class _Conversation:
    """A row's conversation under way: `position` in the task's models, and the last call that answered."""

    task: Task
    request: Request
    dialogue: Dialogue
    progress: Progress
    position: int = 0
    call: int = NEVER_ASKED
    answered_by: int | None = None
    """The model that gave the last answer; one that an earlier submit asked may be in the chain no more."""
    replayed: set[int] = field(default_factory=set)
    """Calls of an earlier submit whose answers were used."""
    rejected: set[int] = field(default_factory=set)
    """The positions of models whose answers would not do."""
    rejection: Failed | None = None
    """What the row fails with when no other model can be asked in place of the last one."""

    @property
    def index(self) -> int:
        """The model that is asked now, as a position in the job's chain."""
        return self.task.models[self.position]


class Answerer:
    """Takes rows through their conversations."""

    def __init__(
        self,
        models: Sequence[ModelChoice],
        asker: Asks,
        admission: Admitting,
        journal: Recorder,
        tools: Tools | None,
        rules: Rules,
        counters: Counters,
        *,
        price_of: PriceOf,
        clock: Clock,
        log: Callable[..., None],
        recovery: Recovery | None = None,
    ) -> None:
        self._models = models
        self._asker = asker
        self._admission = admission
        self._journal = journal
        self._tools = tools
        self._rules = rules
        self._counters = counters
        self._price_of = price_of
        self._clock = clock
        self._log = log
        self._recovery = recovery

    @property
    def resting(self) -> int:
        """Rows that wait to try again."""
        return self._asker.resting

    async def answer(self, task: Task) -> Done | Closed:
        """Ask for one row and give its outcome, not yet recorded.

        Gives what is closed instead when no model may be asked: the row stays pending. Raises
        StorageError when the journal cannot be written.
        """
        if isinstance(task.request, Error):
            return self._done(task, Failed(task.request), 0)
        if task.goes_on:
            self._journal.carry(task.number, task.history.lines)
        timeout = self._rules.row_timeout
        progress = Progress(0, self._clock.monotonic() + timeout)
        if task.history.sent:
            progress.next_call = max(task.history.sent) + 1
            await self._recover(task, progress)
            self._recall(task, progress)
        talk = _Conversation(task, task.request, task.request.dialogue(), progress)
        try:
            result = await self._converse(talk)
        except OutOfTimeError:
            result = Failed(Error("timeout", f"the row took longer than {timeout:g} s in all"))
        if isinstance(result, Closed):
            return result
        by = talk.answered_by if isinstance(result, Completed) else None
        return self._done(task, result, talk.index if by is None else by, talk)

    def _done(self, task: Task, outcome: Outcome, index: int, talk: _Conversation | None = None) -> Done:
        request_hash = task.request_hash
        if isinstance(outcome, Failed) and outcome.error.type in NEVER_SENT:
            # not for this request, which may be sent when the file or the column is there again
            request_hash = failure_hash(outcome.error)
        return Done(
            task=task.number,
            row=task.row,
            row_id=task.row_id,
            key=task.key,
            request_hash=request_hash,
            at=self._clock.wall(),
            model_index=index,
            outcome=outcome,
            errors=tuple(talk.progress.errors) if talk else (),
            earlier=task.earlier,
            reading=talk.dialogue.reading if talk else None,
            cost_usd=talk.progress.cost_usd if talk else None,
            spend=talk.progress.tally.document() if talk else None,
        )

    async def _recover(self, task: Task, progress: Progress) -> None:
        """Have the answers found that an earlier submit did not see arrive, where they were stored."""
        if self._recovery is None:
            return
        history = task.history
        progress.first_sent = min(sent.at for sent in history.sent.values())
        for answered in history.answered.values():
            note_received(progress, judge(answered.exchange))
        spelled = [model.spelled for model in self._models]
        unknown = {sent.call for sent, answered in history.own_calls() if answered is None}
        await self._recovery.recall(task, spelled, progress, self._journal.append)
        for sent, found in history.own_calls():
            if found and sent.call in unknown:
                bound, _cost = recalled(sent, None, self._price_of)
                amounts, _cost = recalled(sent, found, self._price_of)
                self._admission.recalled(sent.at, bound, amounts)

    def _recall(self, task: Task, progress: Progress) -> None:
        """Count what earlier submits paid for the row: its own calls against the budget, too."""
        own = {sent.call for sent, _ in task.history.own_calls()}
        for call, sent in task.history.sent.items():
            amounts, cost = recalled(sent, task.history.answered.get(call), self._price_of)
            progress.paid(sent.at, amounts if call in own else Amounts(), cost)

    async def _converse(self, talk: _Conversation) -> Outcome | Closed:
        """Make the moves of the conversation until it ends."""
        moves = talk.dialogue.moves()
        reply: Reply = None
        while True:
            try:
                move = moves.send(reply)
            except StopIteration:
                break
            except RenderError as failure:  # of a later turn's template
                return Failed(failure.error)
            match move:
                case Ask():
                    if move.error:
                        talk.progress.note(talk.call, move.error)
                    result = await self._ask(talk, move)
                    if isinstance(result, Closed) and talk.rejection:
                        return talk.rejection  # it was paid for
                    if not isinstance(result, Received):
                        return result
                    talk.rejection = None
                    talk.call, talk.answered_by, reply = result.call, result.index, result.completion
                case Run():
                    reply = await self._run(talk, move)
                case Rejected():
                    talk.progress.note(talk.call, move.error)
                    reply = self._falls_back(talk, move.error)
        error = talk.dialogue.error
        return Failed(error, talk.call) if error else Completed(talk.call)

    def _falls_back(self, talk: _Conversation, error: Error) -> bool:
        """Go on to the next model after an answer that will not do, if there is one and it may be asked."""
        last = talk.position + 1 == len(talk.task.models)
        if last or error.type not in self._rules.fallback_on:
            return False
        talk.rejected.add(talk.position)
        talk.rejection = Failed(error, talk.call)
        talk.position += 1
        return True

    async def _run(self, talk: _Conversation, move: Run) -> tuple[str, ...]:
        """What the called functions give: as recorded, else by running them, all at once."""
        digest = _digest([[call.id, call.name, call.arguments] for call in move.calls])
        recorded = talk.task.history.ran.get(move.step)
        if recorded and recorded.calls == digest:
            return recorded.results
        results = [""] * len(move.calls)
        assert self._tools is not None, "a job without functions runs none"
        with talk.progress.in_time(self._clock):
            async with anyio.create_task_group() as group:
                for at, call in enumerate(move.calls):
                    group.start_soon(_run_one, self._tools, call, results, at)
        self._count(talk.task, move.calls, results)
        ran = Ran(talk.task.number, move.step, digest, tuple(results))
        self._journal.append(ran)
        talk.task.history.ran[move.step] = ran  # for when the row is taken up again in this run
        return ran.results

    def _count(self, task: Task, calls: Sequence[ToolCall], results: Sequence[str]) -> None:
        self._counters.tool_calls += len(calls)
        for call, result in zip(calls, results, strict=True):
            if result.startswith(TOOL_ERROR):
                self._counters.tool_errors += 1
                self._log("tool_error", row=task.row_id, function=call.name, error=result[:500])

    async def _ask(self, talk: _Conversation, ask: Ask) -> Received | Failed | Closed:
        """The answer to one ask: as recorded, else from the task's models, as far as `fallback_on` allows.

        It begins with the model that gave the last answer. Those before it come last, but for those whose
        answers would not do.
        """
        key = AskKey(ask.step, "" if ask.is_prompt else talk.request.digest(ask))
        if talk.task.history.sent and (recorded := self._recorded(talk, key)):
            return recorded
        failed: Failed | None = None
        closed: Closed | None = None
        decided = start = talk.position
        models = talk.task.models
        positions = list(range(start, len(models)))
        if start:
            positions += [position for position in range(start) if position not in talk.rejected]
        for at, position in enumerate(positions):
            talk.position = position
            others = positions[at + 1 :]
            may_leave = others and self._any_open(models[other] for other in others)
            leave_for = self._rules.fallback_on if may_leave else _NO_REASON
            result = await self._ask_one(talk, ask, key, leave_for)
            if isinstance(result, Received):
                return result
            if isinstance(result, Closed):
                closed, reason = closed or result, result.reason
            elif failed is None or result.error.type not in NEVER_SENT:
                failed, decided, reason = result, position, result.error
            if reason.type not in self._rules.fallback_on:
                break
        talk.position = decided
        asked = (models[position] for position in positions[: at + 1])
        if failed is None and self._any_open(asked):  # one has opened again meanwhile
            return await self._ask(talk, ask)
        assert failed or closed, "each model gave one of both"
        return failed or closed  # type: ignore[return-value] # the line above

    def _any_open(self, models: Iterable[int]) -> bool:
        for index in models:
            model = self._models[index]
            if self._admission.is_open(model.endpoint, model.name):
                return True
        return False

    async def _ask_one(
        self, talk: _Conversation, ask: Ask, key: AskKey, leave_for: frozenset[str]
    ) -> Received | Failed | Closed:
        if talk.task.history.sent:
            refused = self._asker.recorded_refusal(talk.task, key, talk.index)
            if refused is not None:
                return refused
        try:
            stamp = self._stamp(talk, key)
            if talk.request.media:  # files are read
                with talk.progress.in_time(self._clock):
                    body = await anyio.to_thread.run_sync(_body, talk, ask, stamp)
            else:
                body = _body(talk, ask, stamp)
        except RenderError as failure:
            return Failed(failure.error)
        return await self._asker.ask(talk.task, key, talk.index, body, talk.progress, leave_for)

    def _stamp(self, talk: _Conversation, key: AskKey) -> Stamp | None:
        """By what the answer is found again where it is stored. Raises RenderError."""
        if self._recovery is None or not talk.request.is_stored(talk.index):
            return None
        task, model = talk.task, self._models[talk.index]
        return self._recovery.stamp(task.row_id, task.request_hash, key.digest, model.spelled)

    def _recorded(self, talk: _Conversation, key: AskKey) -> Received | None:
        """The answer that an earlier submit received to this very ask, whichever model gave it."""
        for sent, answered in talk.task.history.replayable():
            if sent.ask != key.digest or sent.call in talk.replayed:
                continue
            judged = judge(answered.exchange)
            talk.progress.note(sent.call, judged.error)
            if judged.completion is not None:
                talk.replayed.add(sent.call)
                self._go_to(talk, sent.model)
                return Received(judged.completion, sent.call, sent.model_index)
        return None

    def _go_to(self, talk: _Conversation, spelled: str) -> None:
        """Go on with the model that gave the recorded answer, if the row may still ask it."""
        for position, index in enumerate(talk.task.models):
            if position >= talk.position and self._models[index].spelled == spelled:
                talk.position = position
                return


def _digest(value: Any) -> str:
    return codec.digest(codec.canonical(value))


def _body(talk: _Conversation, ask: Ask, stamp: Stamp | None) -> bytes:
    return talk.request.body(talk.index, ask.messages, last=ask.last, stamp=stamp)


async def _run_one(tools: Tools, call: ToolCall, results: list[str], at: int) -> None:
    results[at] = await tools.call(call.name or "", call.arguments or "")
