"""One row to its outcome: its conversation, step by step, through the models of the job in order.

What an earlier submit received for the row is replayed first, so that no step is paid for twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from batchrun.admission import Admitting, Unavailable
from batchrun.answer.attempts import Answer
from batchrun.answer.chain import Attempting, Chain, Conversation
from batchrun.answer.recovery import Recovery, note_received
from batchrun.answer.task import OutOfTimeError, RowProgress, Task
from batchrun.answer.tools import ToolRunner
from batchrun.budget import Amounts
from batchrun.chat.dialogue import MoveResult, Rejected, RunTools, Step
from batchrun.clock import Clock
from batchrun.index import failure_hash
from batchrun.job import ModelChoice
from batchrun.outcome import NEVER_SENT, Completed, Error, Failed, Outcome
from batchrun.policy.judge import judge
from batchrun.prices import PriceOf
from batchrun.render.evaluate import RenderError
from batchrun.run_folder.checkpoint.spend import amounts_of_call
from batchrun.run_folder.journal.journal import Recorder
from batchrun.run_folder.journal.records import Done


class Answerer:
    """Takes rows through their conversations.

    `row_timeout` (seconds) bounds all that a row does; `fallback_on` are the errors for which another model
    is asked. `tools` runs the job's functions, if it has any; `recovery` finds stored answers, where it may.
    """

    def __init__(
        self,
        models: Sequence[ModelChoice],
        attempts: Attempting,
        admission: Admitting,
        journal: Recorder,
        *,
        row_timeout: float,
        fallback_on: frozenset[str],
        price_of: PriceOf,
        clock: Clock,
        tools: ToolRunner | None = None,
        recovery: Recovery | None = None,
    ) -> None:
        self._models = models
        self._attempts = attempts
        self._chain = Chain(models, attempts, admission, fallback_on, clock, recovery)
        self._admission = admission
        self._journal = journal
        self._row_timeout = row_timeout
        self._price_of = price_of
        self._clock = clock
        self._tools = tools
        self._recovery = recovery

    @property
    def resting(self) -> int:
        """Rows that wait to try again."""
        return self._attempts.resting

    async def answer(self, task: Task) -> Done | Unavailable:
        """Ask for one row and give its outcome, not yet recorded.

        Gives what is closed instead when no model may be asked: the row stays pending. Raises
        StorageError when the journal cannot be written.
        """
        if isinstance(task.request, Error):
            return self._done(task, Failed(task.request), 0)
        if task.goes_on:
            self._journal.carry(task.number, task.history.lines)
        progress = RowProgress(0, self._clock.monotonic() + self._row_timeout)
        if task.history.sent:
            progress.next_call = max(task.history.sent) + 1
            await self._recover(task, progress)
            self._recall(task, progress)
        conversation = Conversation(task, task.request, task.request.dialogue(), progress)
        try:
            result = await self._converse(conversation)
        except OutOfTimeError:
            result = Failed(Error("timeout", f"the row took longer than {self._row_timeout:g} s in all"))
        if isinstance(result, Unavailable):
            return result
        by = conversation.answered_by if isinstance(result, Completed) else None
        return self._done(task, result, conversation.model_index if by is None else by, conversation)

    def _done(
        self, task: Task, outcome: Outcome, model_index: int, conversation: Conversation | None = None
    ) -> Done:
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
            model_index=model_index,
            outcome=outcome,
            errors=tuple(conversation.progress.errors) if conversation else (),
            earlier=task.earlier,
            reading=conversation.dialogue.reading if conversation else None,
            cost_usd=conversation.progress.cost_usd if conversation else None,
            spend=conversation.progress.tally.document() if conversation else None,
        )

    async def _recover(self, task: Task, progress: RowProgress) -> None:
        """Have the answers found that an earlier submit did not see arrive, where they were stored."""
        if self._recovery is None:
            return
        history = task.history
        progress.first_sent = min(sent.at for sent in history.sent.values())
        for answered in history.answered.values():
            note_received(progress, judge(answered.exchange))
        spelled = [model.qualified_name for model in self._models]
        unknown = {sent.call for sent, answered in history.own_calls() if answered is None}
        await self._recovery.find_stored_answers(task, spelled, progress, self._journal.append)
        for sent, found in history.own_calls():
            if found and sent.call in unknown:
                bound, _cost = amounts_of_call(sent, None, self._price_of)
                amounts, _cost = amounts_of_call(sent, found, self._price_of)
                self._admission.correct_past_call(sent.at, bound, amounts)

    def _recall(self, task: Task, progress: RowProgress) -> None:
        """Count what earlier submits paid for the row: its own calls against the budget, too."""
        own = {sent.call for sent, _ in task.history.own_calls()}
        for call, sent in task.history.sent.items():
            amounts, cost = amounts_of_call(sent, task.history.answered.get(call), self._price_of)
            progress.paid(sent.at, amounts if call in own else Amounts(), cost)

    async def _converse(self, conversation: Conversation) -> Outcome | Unavailable:
        """Make the moves of the conversation until it ends."""
        moves = conversation.dialogue.moves()
        result: MoveResult = None
        while True:
            try:
                move = moves.send(result)
            except StopIteration:
                break
            except RenderError as failure:  # of a later turn's template
                return Failed(failure.error)
            match move:
                case Step():
                    if move.error:
                        conversation.progress.note(conversation.call, move.error)
                    answer = await self._chain.ask(conversation, move)
                    if isinstance(answer, Unavailable) and conversation.rejection:
                        return conversation.rejection  # it was paid for
                    if not isinstance(answer, Answer):
                        return answer
                    conversation.rejection = None
                    conversation.call, conversation.answered_by = answer.call, answer.model_index
                    result = answer.completion
                case RunTools():
                    assert self._tools is not None, "a job without functions runs none"
                    result = await self._tools.run(conversation.task, move, conversation.progress)
                case Rejected():
                    conversation.progress.note(conversation.call, move.error)
                    result = self._chain.falls_back(conversation, move.error)
        error = conversation.dialogue.error
        return Failed(error, conversation.call) if error else Completed(conversation.call)
