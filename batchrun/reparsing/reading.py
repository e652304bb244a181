"""What a stored answer is to the job as it is now: read as a submit reads it when it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from batchrun.chat.dialogue import Dialogue, MoveResult, RunTools
from batchrun.chat.response.completion import Completion
from batchrun.outcome import Completed, Error, ErrorType, Failed
from batchrun.policy.judge import judge
from batchrun.render.request import RowRequest
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.records import Done


def reread(history: History, request: RowRequest) -> Done | None:
    """The outcome of a finished task for `request`, which asks the same but for the form of the answer.

    The answer that the row shows counts first; where it will not do, the latest other one to the same
    question that does: of those that were asked for again under the older schema, one may fit this one.
    A conversation has no other one. An answer that the schema says nothing of (of an earlier turn, or one
    that calls functions) stays what it was. What the calls took stays as it was.

    None where nothing was answered that could be read, or none of it will do and the row did not fail for it:
    its cause was another one (a timeout of a second call).
    """
    done = history.done
    assert done is not None, "a finished task"
    if isinstance(done.outcome, Failed) and not _is_last_turn(done, request):
        return None if done.outcome.call is None else done
    errors: dict[int, Error | None] = {}
    shown: Done | None = None
    for call, completion in _answers(history, alone=request.renderer.dialogue_rules.keep_messages):
        dialogue = _read(request, completion)
        if dialogue is None:
            return done
        errors[call] = dialogue.error
        found = _outcome(history, call, dialogue)
        if dialogue.error is None:
            return _noted(found, errors)
        if call == done.outcome.call:
            shown = found
    return shown and _noted(shown, errors)


def _is_last_turn(done: Done, request: RowRequest) -> bool:
    """Whether the last question of the row was its last turn, for whose answer alone the schema holds."""
    if not request.renderer.prompt.has_turns:
        return True
    further = ((done.reading or {}).get("transcript") or ())[len(request.messages) :]
    asked = [message for message in further if message.get("role") == "user"]
    return len(asked) == len(request.renderer.prompt.spelled_turns)


def _answers(history: History, *, alone: bool) -> Iterator[tuple[int, Completion]]:
    """The answers to the row's last question by their calls: the one that it shows, then the latest first."""
    shown = history.done.outcome.call if history.done else None
    calls = sorted(history.answered.keys() & history.sent.keys(), key=lambda call: (call != shown, -call))
    for call in calls:
        completion = judge(history.answered[call].exchange).completion
        if completion is not None and (call == shown or not alone):
            yield call, completion


def _read(request: RowRequest, completion: Completion) -> Dialogue | None:
    """A conversation of this answer alone, ended; None where it calls functions instead of answering."""
    reader = request.renderer.reader(request.parameters(0))
    rules = replace(request.renderer.dialogue_rules, reask=0, keep_messages=False)
    dialogue = Dialogue(request.messages, (), reader, rules)
    moves = dialogue.moves()
    next(moves)
    another_model: MoveResult = False
    with suppress(StopIteration):
        if isinstance(moves.send(completion), RunTools):
            return None
        moves.send(another_model)
    return dialogue


def _outcome(history: History, call: int, dialogue: Dialogue) -> Done:
    """The task's outcome by one of its answers."""
    done = history.done
    assert done is not None, "a finished task"
    error, reading = dialogue.error, dialogue.reading or {}
    if transcript := (done.reading or {}).get("transcript"):
        reading = {**reading, "transcript": transcript}
    return replace(
        done,
        outcome=Failed(error, call) if error else Completed(call),
        model_index=done.model_index if call == done.outcome.call else history.sent[call].model_index,
        reading=reading or None,
    )


def _noted(done: Done, errors: dict[int, Error | None]) -> Done:
    """With what is known now of the calls that were read; those of the others stay."""
    noted: list[ErrorType | None] = [*done.errors]
    for call, error in sorted(errors.items()):
        noted.extend([None] * (call + 1 - len(noted)))
        noted[call] = error.type if error else None
    return replace(done, errors=tuple(noted))
