"""What a row is still to be asked: its conversation is led as far as the answers that are there go."""

from __future__ import annotations

from batchrun.admission import Unavailable
from batchrun.answer.answerer import Answerer
from batchrun.answer.attempts import Answer, Attempts
from batchrun.answer.task import Question, StepKey, Task
from batchrun.outcome import PASSING, Error, Failed
from batchrun.policy.judge import judge
from batchrun.run_folder.journal.records import Done
from batchrun.value import value

_AROUND = 400
"""Bytes of a line around the request's body, at most."""


@value(frozen=True, slots=True)
class Wanted:
    """The next call of a row, which somebody else is to make."""

    call: int
    step: StepKey
    model_index: int
    """The model, as a position in the job's chain."""
    body: bytes


class _DeferredError(Exception):
    def __init__(self, wanted: Wanted) -> None:
        super().__init__()
        self.wanted = wanted


class Deferring:
    """Takes the place of an `Attempts`: what is to be asked is put off.

    `max_attempts` is how often one model is asked the same, `most` the bytes that a request may have.
    """

    resting = 0

    def __init__(self, attempts: Attempts, *, max_attempts: int, most: int) -> None:
        self.recorded_failure = attempts.recorded_failure
        self._max_attempts = max_attempts
        self._most = most - _AROUND

    async def ask(self, question: Question) -> Answer | Failed | Unavailable:
        """Fails where the model was asked too often already, or the request is too long for any batch."""
        body, failures = question.body, _failures(question)
        if len(failures) >= self._max_attempts:
            return Failed(failures[-1])
        if len(body) > self._most:
            text = (
                f"the request has {len(body):,} bytes, and a batch's file may have {self._most + _AROUND:,}"
            )
            return Failed(Error("invalid_request", f"{text} (engine.max_bytes)"))
        raise _DeferredError(Wanted(question.progress.next_call, question.step, question.model_index, body))


def _failures(question: Question) -> list[Error]:
    """What came of earlier calls that asked the same, and may go better another time."""
    found = []
    for sent, answered in question.task.history.replayable():
        if sent.model == question.model.qualified_name and sent.step_digest == question.step.digest:
            error = judge(answered.exchange).error
            if error is not None and error.type in PASSING | {"invalid_response"}:
                found.append(error)
    return found


async def drawn(answerer: Answerer, task: Task) -> Done | Wanted:
    """A row's outcome, or else the call that it waits for. `answerer` asks by way of `Deferring`.

    Raises StorageError.
    """
    try:
        done = await answerer.answer(task)
    except _DeferredError as deferred:
        return deferred.wanted
    assert not isinstance(done, Unavailable), "nobody is asked"
    return done
