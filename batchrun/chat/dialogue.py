"""One row's conversation with a model: a generator that yields what to do next and takes what came of it.

It knows nothing of endpoints, attempts and journals. Given the same answers and results it takes
the same way, so that a conversation that was cut short is replayed from its records.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from batchrun.chat.response.completion import Choice, Completion, ToolCall
from batchrun.chat.response.reading import Reader
from batchrun.chat.transcript import assistant_message, flattened, result_messages, said
from batchrun.outcome import Error
from batchrun.value import value

_NO_RESULTS = (
    "the answer calls tools, and no further turn may follow without their results: name functions in "
    "run_tools, or leave out request.tools or prompt.turns"
)

Turn: TypeAlias = Callable[[Sequence[str]], dict[str, Any]]
"""Gives the next message from the texts of the answers so far."""

_MENDABLE = frozenset({"invalid_output", "truncated"})
"""Answers that the model is asked to give again, with what is wrong with them."""


@value(frozen=True, slots=True)
class Step:
    """Send these messages; takes the Completion.

    `last` says whether the answer will be the row's own, so that the job's schema holds for it.
    `error` says why the answer before was not taken, if it was not.
    """

    number: int
    messages: Sequence[Mapping[str, Any]]
    last: bool
    error: Error | None = None
    is_prompt: bool = False
    """Whether the messages are the row's prompt as it stands: nothing beyond the row's own request."""


@dataclass(frozen=True, slots=True)
class RunTools:
    """Run the functions that the answer to step number `step` calls; takes their results, in order."""

    step: int
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """This model's answer will not do; takes True when another model is to give it."""

    error: Error


Move: TypeAlias = Step | RunTools | Rejected
MoveResult: TypeAlias = Completion | tuple[str, ...] | bool | None
"""What a move takes: a completion, results, whether to go on; None to begin."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a job says of conversations."""

    reask: int = 2
    """How often a model is told what is wrong with its answer and asked again."""
    functions: frozenset[str] = frozenset()
    """Tools that are run here; calls of any other end the conversation."""
    max_turns: int = 5
    """How often functions are run before the model must answer."""
    keep_messages: bool = False
    """Whether the transcript belongs to the results."""


@dataclass(slots=True)
class Dialogue:
    """The conversation about one row: `prompt`, then the further `turns`.

    `show` spells a message for the transcript. `error` is set when `moves` has ended without an answer
    that the job takes, and `found` holds what was read in the last answer.
    """

    prompt: Sequence[Mapping[str, Any]]
    turns: Sequence[Turn]
    reader: Reader
    rules: Rules
    legacy: bool = False
    """Whether tools are given as the deprecated `functions`."""
    show: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda message: message
    error: Error | None = None
    found: dict[str, Any] = field(default_factory=dict)
    _kept: Sequence[Mapping[str, Any]] = ()
    _aside: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """What the transcript says of a kept message beyond what is sent, by the message's position."""
    _step: int = 0

    @property
    def reading(self) -> dict[str, Any] | None:
        """What the job makes of the conversation so far: `Reader`'s members, and `transcript`."""
        if self.rules.keep_messages and self._kept:
            entries = [
                {**flattened(self.show(message)), **self._aside.get(at, {})}
                for at, message in enumerate(self._kept)
            ]
            return {**self.found, "transcript": entries}
        return self.found or None

    def moves(self) -> Generator[Move, Any, None]:
        """The moves of the conversation. Lets pass what a turn raises."""
        self._kept = self.prompt
        answers: list[str] = []
        for number in range(len(self.turns) + 1):
            if number:
                self._kept = [*self._kept, self.turns[number - 1](answers)]
            last = number == len(self.turns)
            choice = yield from self._answer(last=last)
            if choice is None or (last and not self.rules.keep_messages):
                return
            self._keep(choice)
            answers.append(said(choice) or "")
            if choice.tool_calls and not last:
                self.error = Error("invalid_output", _NO_RESULTS, http_status=200)
                return

    def _answer(self, *, last: bool) -> Generator[Move, Any, Choice | None]:
        """One turn: ask until an answer will do. None when no model gave one; `error` says why."""
        start = self._kept
        while True:
            self._kept = start
            choice, error = yield from self._one_model(last=last)
            if error is None:
                return choice
            another_model: bool = yield Rejected(error)
            if not another_model:
                self.error = error
                self._keep(choice)
                return None

    def _one_model(self, *, last: bool) -> Generator[Move, Any, tuple[Choice, Error | None]]:
        """Ask, run what is called, and ask again where the answer can be mended."""
        wire = self._kept
        reasks = runs = 0
        error: Error | None = None
        while True:
            completion: Completion = yield Step(self._step, wire, last, error, len(wire) == len(self.prompt))
            self._step += 1
            self.found = {}  # of the answer before, which this one takes the place of
            choice, error = completion.choices[0], None
            if refused := self.reader.refused(choice):
                return choice, refused
            if self._runs(choice):
                if runs == self.rules.max_turns:
                    return choice, self._still_calling()
                runs += 1
                yield from self._run(choice)
                wire = self._kept
                continue
            self.found, unwanted = self.reader.read(completion, last=last)
            if unwanted is None:
                return choice, None
            error = unwanted.error
            if error.type not in _MENDABLE or reasks == self.rules.reask or not unwanted.advice:
                return choice, error if unwanted.fails else None
            reasks += 1
            wire = [*self._kept, *self._correction(choice, unwanted.advice)]

    def _still_calling(self) -> Error:
        text = f"the model still calls functions after {self.rules.max_turns} rounds (run_tools.max_turns)"
        return Error("invalid_output", text, http_status=200)

    def _runs(self, choice: Choice) -> bool:
        """Whether the answer calls functions that are ours to run.

        A name nobody knows is ours too: the model is told. A tool that the job offers without a function
        ends the conversation.
        """
        calls, not_ours = choice.tool_calls, self.reader.offered - self.rules.functions
        return bool(calls and self.rules.functions) and not any(
            call.type == "custom" or call.name in not_ours for call in calls
        )

    def _run(self, choice: Choice) -> Generator[Move, Any, None]:
        calls = choice.tool_calls[:1] if self.legacy else choice.tool_calls
        results: tuple[str, ...] = yield RunTools(self._step - 1, calls)
        self._keep(choice)
        self._kept = [*self._kept, *result_messages(calls, results, legacy=self.legacy)]

    def _keep(self, choice: Choice) -> None:
        """The answer becomes part of the conversation; its reasoning, of the transcript alone."""
        aside = {"reasoning": choice.reasoning, "content": said(choice)}
        self._aside[len(self._kept)] = {name: text for name, text in aside.items() if text is not None}
        self._kept = [*self._kept, assistant_message(choice, legacy=self.legacy)]

    def _correction(self, choice: Choice, advice: Sequence[str]) -> list[dict[str, Any]]:
        """The answer that will not do, and what is wrong with it: for tool calls a result each."""
        answer = assistant_message(choice, legacy=self.legacy)
        if choice.tool_calls:
            return [answer, *result_messages(choice.tool_calls, advice, legacy=self.legacy)]
        return [answer, {"role": "user", "content": "\n".join(advice)}]


def replayed(
    dialogue: Dialogue,
    completions: Mapping[int, Completion],
    results: Mapping[int, tuple[str, ...]],
    number: int,
) -> Step | None:
    """The step number `number` of a conversation, from what was received before it, by step.

    None where something of that is not there.
    """
    moves = dialogue.moves()
    result: MoveResult = None
    with suppress(StopIteration, KeyError):
        while True:
            move = moves.send(result)
            if isinstance(move, Step):
                if move.number == number:
                    return move
                result = completions[move.number]
            else:
                result = results[move.step] if isinstance(move, RunTools) else True
    return None
