"""The messages of a row, wherever they come from: templates, a column, or a whole request body."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from batchrun.chat.dialogue import Turn
from batchrun.chat.request.messages import check_messages
from batchrun.job import OPENAI_BATCH, Job, read_messages
from batchrun.media import MediaRef, collecting
from batchrun.render.evaluate import RenderError, at, evaluated, unfit
from batchrun.selection import stands_for
from batchrun.source import message_list
from batchrun.template.source import has_markup, inline_includes
from batchrun.template.template import Context, Prepared, Templates

BODY = "body"
"""The column of an openai-batch input that holds the request."""

ANSWER, ANSWERS = "answer", "answers"
"""What a turn's template calls the text of the last answer, and those of all so far."""


_UNDEFINED = re.compile(r"`([^`]+)` is undefined")
"""How a template says that it names what is not there."""

_TEXTS = (".content", ".text", ".refusal", ".thinking", ".arguments", ".input", ".url", ".data")
"""Members of messages that are text whatever their template gives."""


class Prompt:
    """The messages of one job, prepared. Raises JobError when a template cannot be read."""

    def __init__(self, job: Job, templates: Templates) -> None:
        self._templates = templates
        self._column = job.prompt.messages_column
        self.from_body = job.input.format == OPENAI_BATCH
        messages = list(read_messages(job))
        self.spelled = [message for _, message in messages]
        """The messages as the job spells them, message files read in."""
        self._messages = [
            (f"prompt.messages[{index}].content", self._prepared(message, place))
            for index, (place, message) in enumerate(messages)
        ]
        self._checked = any(isinstance(message.get("content"), list) for message in self.spelled)
        self.spelled_turns = [turn.plain() for turn in job.prompt.turns]
        self._turns = [
            self._prepared(turn, job.where("prompt", "turns", number))
            for number, turn in enumerate(self.spelled_turns)
        ]

    @property
    def has_turns(self) -> bool:
        """Whether there is more than one answer to a row."""
        return bool(self._turns)

    def inlined(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Messages as the job spells them, with included files in place."""
        return [_inlined(message, self._templates.included) for message in messages]

    def messages(self, context: Context) -> list[dict[str, Any]]:
        """The messages of a row. Raises RenderError."""
        if self.from_body:
            return _checked(context[BODY].get("messages"), f"{BODY}.")
        if self._column is not None:
            return self._column_messages(self._column, context)
        messages = [evaluated(name, message, context) for name, message in self._messages]
        return _checked(messages, "prompt.") if self._checked else messages

    def _column_messages(self, column: str, context: Context) -> list[dict[str, Any]]:
        try:
            messages = message_list(context.get(column))
        except ValueError as error:
            raise unfit(f"the column `{column}` {error}") from error
        if messages is None:
            raise unfit(f"the column `{column}` is null or missing: it must hold the row's messages")
        return _checked(messages, f"{column}: ")

    def turns(self, context: Context, media: list[MediaRef]) -> list[Turn]:
        """What gives the further turns of a row, which add to its `media`. A turn raises RenderError."""
        if not self._turns:
            return []

        def turn(at: int, answers: Sequence[str]) -> dict[str, Any]:
            seen = {**context, ANSWERS: list(answers), ANSWER: answers[-1]}
            with collecting(media):
                value: dict[str, Any] = evaluated(f"prompt.turns[{at}]", self._turns[at], seen)
            return value

        return [partial(turn, at) for at in range(len(self._turns))]

    def turns_identity(self, context: Context) -> list[Any]:
        """What the request hash covers of turns, which cannot be rendered before there are answers:
        their templates, and the row's values that these name."""
        identity: list[Any] = []
        for number, (turn, names) in enumerate(self._inlined_turns):
            if "row" in names and "row" not in context:  # of which no column is named
                names = names | context.keys()
            seen = sorted((names & context.keys()) - {ANSWER, ANSWERS})
            values = {name: stands_for(context[name]) for name in seen}
            identity.append([turn, values, self._without_answers(number, context)])
        return identity

    @cached_property
    def _inlined_turns(self) -> list[tuple[dict[str, Any], set[str]]]:
        """The turns with included files in place, and the names that each of them reads."""
        return [
            (turn, {name for text in texts(turn) for name in self._templates.names(text)})
            for turn in self.inlined(self.spelled_turns)
        ]

    def _without_answers(self, number: int, context: Context) -> Any:
        """A turn as it is where every answer is empty: its media, and files included by a row's values.

        None where its template wants an answer. Raises RenderError for media that cannot be sent.
        """
        empty = {**context, ANSWERS: [""] * (number + 1), ANSWER: ""}
        try:
            return evaluated(f"prompt.turns[{number}]", self._turns[number], empty)
        except RenderError as failure:
            unknown = _UNDEFINED.search(failure.error.message)
            if failure.error.type == "media" or (unknown and unknown[1] not in (ANSWER, ANSWERS)):
                raise  # the same for every answer: better now than when the first turns are paid for
            return None

    def _prepared(self, message: Mapping[str, Any], place: str) -> Prepared:
        """A message whose every text is a template."""
        fixed = {name: value for name, value in message.items() if not has_markup(value)}
        made = {
            name: self._prepared_value(message[name], f"{place}.{name}")
            for name in message.keys() - fixed.keys()
        }
        if not made:
            return lambda _context: fixed
        if made.keys() == {"content"}:  # nearly all of them
            content = made["content"]
            return lambda context: {**fixed, "content": content(context)}
        names = list(message)
        return lambda context: {name: made[name](context) if name in made else fixed[name] for name in names}

    def _prepared_value(self, value: Any, place: str) -> Prepared:
        if isinstance(value, str):
            with at(place, value):
                return self._templates.text(value) if place.endswith(_TEXTS) else self._leaf(value)
        if isinstance(value, list):
            items = [self._prepared_value(item, f"{place}[{index}]") for index, item in enumerate(value)]
            return lambda context: [item(context) for item in items]
        if isinstance(value, Mapping):
            members = {key: self._prepared_value(item, f"{place}.{key}") for key, item in value.items()}
            return lambda context: {key: item(context) for key, item in members.items()}
        return lambda _context: value

    def _leaf(self, source: str) -> Prepared:
        """Text, unless the template is one expression that gives a mapping, a list or a boolean."""
        as_value, as_text = self._templates.value(source), self._templates.text(source)

        def leaf(context: Context) -> Any:
            value = as_value(context)
            return value if isinstance(value, str | Mapping | list | bool) else as_text(context)

        return leaf


def _checked(messages: Any, place: str) -> list[dict[str, Any]]:
    if wrong := check_messages(messages):
        raise unfit(f"{place}{wrong}")
    found: list[dict[str, Any]] = messages
    return found


def texts(value: Any) -> Iterator[str]:
    """Every text in a value of any shape, keys aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def _inlined(value: Any, files: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return inline_includes(value, files)
    if isinstance(value, Mapping):
        return {key: _inlined(item, files) for key, item in value.items()}
    return [_inlined(item, files) for item in value] if isinstance(value, list) else value
