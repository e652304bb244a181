"""A streamed answer (`stream: true`) accumulated into the one that the server sends unstreamed.

Chunks are OpenAI's `chat.completion.chunk`. Servers differ from it as they differ in whole answers,
and all that a chunk brings is kept: a member without a rule of its own has its last value.
"""

from __future__ import annotations

from typing import Any

from batchrun import codec
from batchrun.chat.response import json_pieces
from batchrun.chat.response.choice_deltas import ChoiceDeltas
from batchrun.chat.response.lenient import is_integer, members, objects
from batchrun.chat.response.server_sent_events import Event, EventReader

_FIRST_COUNTS = frozenset({"id", "created", "model", "system_fingerprint"})
"""Members of which the first value counts that is not empty: Azure's first chunk has none."""

_ORDER = ("id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint")

_DONE = b"[DONE]"
_SHOWN = 200
"""Bytes of an event that is no JSON that its error quotes."""


class Accumulator:
    """Takes the bytes of an event stream as they arrive. Pure, and never raises.

    After the last byte `end` must be called. The work is linear in the bytes, however they are cut.
    """

    def __init__(self) -> None:
        self._reader = EventReader()
        self._choices: dict[int, ChoiceDeltas] = {}
        self._members: dict[str, Any] = {"object": "chat.completion"}
        self._error: Any = None
        self._events = 0
        self._characters = 0
        self.done = False
        """Whether `[DONE]` has arrived, or an error: nothing of the answer can follow."""

    @property
    def started(self) -> bool:
        """Whether something of the answer has arrived: content, refusal, reasoning, audio or a tool call."""
        return self._characters > 0

    @property
    def finished(self) -> bool:
        """Whether the answer is whole: `[DONE]`, an error, or a finish reason for every choice."""
        reasons = [choice.finish_reason for choice in self._choices.values()]
        return self.done or (bool(reasons) and all(reasons))

    @property
    def arrived(self) -> str:
        """How much has arrived, for a message."""
        return f"{self._events} events with {self._characters} characters of the answer"

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        for event in self._reader.feed(data):
            self._take(event)

    def end(self) -> None:
        """The stream has ended: its last event may lack its empty line, or be cut."""
        for event in self._reader.end():
            whole = [event.data] if _is_json(event.data) else event.data.split(b"\n")
            for data in whole:
                if data.strip() == _DONE or _is_json(data):
                    self._take(Event(event.type, data))

    def _take(self, event: Event) -> None:
        data = event.data.strip()
        if self.done or not data:
            return
        self._events += 1
        if data == _DONE:
            self.done = True
            return
        try:
            chunk = codec.loads(data)
        except ValueError as error:
            self._not_json(event, error)
            return
        if event.type == "error":
            self._fail(members(chunk).get("error") or chunk)
        for item in chunk if isinstance(chunk, list) else [chunk]:
            self._chunk(members(item))

    def _not_json(self, event: Event, error: ValueError) -> None:
        """An event that is no JSON: several chunks without empty lines between, or an error."""
        lines = event.data.split(b"\n")
        if len(lines) > 1:
            for line in lines:
                self._take(Event(event.type, line))
            return
        quoted = event.data[:_SHOWN].decode(errors="replace")
        reason = quoted if event.type == "error" else f"an event of the stream is no JSON ({error}): {quoted}"
        self._fail({"message": reason})

    def _fail(self, error: Any) -> None:
        self._error = error
        self.done = True

    def _chunk(self, chunk: dict[str, Any]) -> None:
        choices = objects(chunk.get("choices"))
        for place, choice in enumerate(choices):
            given = choice.get("index")
            index = given if is_integer(given) else place
            known = self._choices.setdefault(index, ChoiceDeltas(index))
            self._characters += known.add(choice)
        for name, held in chunk.items():
            if held is None or name in ("object", "choices", "error"):
                continue
            if name not in _FIRST_COUNTS or not self._members.get(name):
                self._members[name] = held
        if chunk.get("usage") is None and (usage := _usage_elsewhere(chunk, choices)):
            self._members["usage"] = usage
        if error := chunk.get("error") or members(chunk.get("x_groq")).get("error"):
            self._fail(error)
        elif chunk.get("object") == "error":  # older vLLM: the error is the chunk
            self._fail(chunk)

    def document(self) -> bytes:
        """The answer as one `chat.completion`, JSON; after an error with `error` beside what had arrived."""
        found = {name: json_pieces.value(held) for name, held in self._members.items()}
        choices = (self._choices[index].spelled() for index in sorted(self._choices))
        found["choices"] = json_pieces.array(choices)
        ordered = {name: found.pop(name) for name in _ORDER if name in found}
        error = {} if self._error is None else {"error": json_pieces.value(self._error)}
        return json_pieces.object_((error | ordered | found).items())


def _usage_elsewhere(chunk: dict[str, Any], choices: list[dict[str, Any]]) -> Any:
    """The usage of Moonshot's last chunk is in its choice, that of Groq's in `x_groq`."""
    holders = [*choices, members(chunk.get("x_groq"))]
    return next((holder["usage"] for holder in holders if holder.get("usage")), None)


def _is_json(data: bytes) -> bool:
    try:
        codec.loads(data)
    except ValueError:
        return False
    return True
