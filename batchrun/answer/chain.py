"""One step through the models of the job in order, as far as `fallback_on` allows.

What an earlier submit received to the same step is given again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import anyio.to_thread

from batchrun.admission import Admitting, Unavailable
from batchrun.answer.attempts import Answer
from batchrun.answer.recovery import Recovery
from batchrun.answer.task import Question, RowProgress, StepKey, Task
from batchrun.chat.dialogue import Dialogue, Step
from batchrun.clock import Clock
from batchrun.job import ModelChoice
from batchrun.outcome import NEVER_SENT, Error, Failed
from batchrun.policy.judge import judge
from batchrun.render.evaluate import RenderError
from batchrun.render.request import RowRequest

_NO_REASON: frozenset[str] = frozenset()

_NEVER_ASKED = -1
"""No call yet."""


class Attempting(Protocol):
    """Asks one model at a time (`attempts.Attempts` says what each method does)."""

    @property
    def resting(self) -> int: ...

    async def ask(self, question: Question) -> Answer | Failed | Unavailable: ...

    def recorded_failure(self, task: Task, step: StepKey, model: ModelChoice) -> Failed | None: ...


@dataclass(slots=True)
class Conversation:
    """A row's conversation under way: `position` in the task's models, and the last call that answered."""

    task: Task
    request: RowRequest
    dialogue: Dialogue
    progress: RowProgress
    position: int = 0
    call: int = _NEVER_ASKED
    answered_by: int | None = None
    """The model that gave the last answer; one that an earlier submit asked may be in the chain no more."""
    replayed: set[int] = field(default_factory=set)
    """Calls of an earlier submit whose answers were used."""
    rejected: set[int] = field(default_factory=set)
    """The positions of models whose answers would not do."""
    rejection: Failed | None = None
    """What the row fails with when no other model can be asked in place of the last one."""

    @property
    def model_index(self) -> int:
        """The model that is asked now, as a position in the job's chain."""
        return self.task.model_indexes[self.position]


class Chain:
    """The models of the job, to be asked in order. `fallback_on` are the errors that lead on to the next."""

    def __init__(
        self,
        models: Sequence[ModelChoice],
        attempts: Attempting,
        admission: Admitting,
        fallback_on: frozenset[str],
        clock: Clock,
        recovery: Recovery | None,
    ) -> None:
        self._models = models
        self._attempts = attempts
        self._admission = admission
        self._fallback_on = fallback_on
        self._clock = clock
        self._recovery = recovery

    def falls_back(self, conversation: Conversation, error: Error) -> bool:
        """Go on to the next model after an answer that will not do, if there is one and it may be asked."""
        last = conversation.position + 1 == len(conversation.task.model_indexes)
        if last or error.type not in self._fallback_on:
            return False
        conversation.rejected.add(conversation.position)
        conversation.rejection = Failed(error, conversation.call)
        conversation.position += 1
        return True

    async def ask(
        self, conversation: Conversation, step: Step, *, stays: bool = False
    ) -> Answer | Failed | Unavailable:
        """The answer to one step: as recorded, else from the task's models, as far as `fallback_on` allows.

        It begins with the model that gave the last answer. Those before it come last, but for those whose
        answers would not do. With `stays` it waits for each that is out of reach for a while.
        """
        key = StepKey(step.number, "" if step.is_prompt else conversation.request.digest(step))
        if conversation.task.history.sent and (recorded := self._recorded(conversation, key)):
            return recorded
        failed: Failed | None = None
        closed: Unavailable | None = None
        decided = start = conversation.position
        models = conversation.task.model_indexes
        positions = list(range(start, len(models)))
        if start:
            positions += [position for position in range(start) if position not in conversation.rejected]
        for at, position in enumerate(positions):
            conversation.position = position
            others = positions[at + 1 :]
            may_leave = not stays and others and self._any_open(models[other] for other in others)
            leave_for = self._fallback_on if may_leave else _NO_REASON
            result = await self._ask_one(conversation, step, key, leave_for)
            if isinstance(result, Answer):
                return result
            if isinstance(result, Unavailable):
                closed, reason = closed or result, result.reason
            elif failed is None or result.error.type not in NEVER_SENT:
                failed, decided, reason = result, position, result.error
            if reason.type not in self._fallback_on:
                break
        conversation.position = decided
        asked = (models[position] for position in positions[: at + 1])
        if failed is None and self._any_open(asked):  # again meanwhile, or it was left for one that is not
            return await self.ask(conversation, step, stays=True)
        if failed:
            return failed
        assert closed, "each model gave one of both"
        return replace(closed, is_rows_own=bool(start))

    def _any_open(self, models: Iterable[int]) -> bool:
        for model_index in models:
            model = self._models[model_index]
            if self._admission.is_available(model.endpoint, model.name):
                return True
        return False

    async def _ask_one(
        self, conversation: Conversation, step: Step, key: StepKey, leave_for: frozenset[str]
    ) -> Answer | Failed | Unavailable:
        task, model_index = conversation.task, conversation.model_index
        model = self._models[model_index]
        if task.history.sent:
            refused = self._attempts.recorded_failure(task, key, model)
            if refused is not None:
                return refused
        try:
            body = await self._body(conversation, step, key)
        except RenderError as failure:
            return Failed(failure.error)
        return await self._attempts.ask(
            Question(task, key, model_index, model, body, conversation.progress, leave_for)
        )

    async def _body(self, conversation: Conversation, step: Step, key: StepKey) -> bytes:
        """What the model is sent; its stamp is what the answer is found by where that is stored."""
        task, model_index, stamp = conversation.task, conversation.model_index, None
        if self._recovery is not None and conversation.request.is_stored(model_index):
            spelled = self._models[model_index].qualified_name
            stamp = self._recovery.stamp(task.row_id, task.request_hash, key.digest, spelled)
        body = partial(conversation.request.body, model_index, step.messages, last=step.last, stamp=stamp)
        if not conversation.request.media:
            return body()
        with conversation.progress.in_time(self._clock):
            return await anyio.to_thread.run_sync(body)  # files are read

    def _recorded(self, conversation: Conversation, key: StepKey) -> Answer | None:
        """The answer that an earlier submit received to this very step, whichever model gave it."""
        for sent, answered in conversation.task.history.replayable():
            if sent.step_digest != key.digest or sent.call in conversation.replayed:
                continue
            judged = judge(answered.exchange)
            conversation.progress.note(sent.call, judged.error)
            if judged.completion is not None:
                conversation.replayed.add(sent.call)
                self._go_to(conversation, sent.model)
                return Answer(judged.completion, sent.call, sent.model_index)
        return None

    def _go_to(self, conversation: Conversation, spelled: str) -> None:
        """Go on with the model that gave the recorded answer, if the row may still ask it."""
        for position, model_index in enumerate(conversation.task.model_indexes):
            if position >= conversation.position and self._models[model_index].qualified_name == spelled:
                conversation.position = position
                return
