"""The deltas of one message (`ChatCompletionChunk.Choice.Delta`), put together again.

Each class takes the pieces of one member as they come and spells the member as an unstreamed
answer has it. Pieces are kept in lists and joined once. `add` returns how many characters of the
answer a piece brings.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from batchrun.chat.response.lenient import objects, text
from batchrun.chat.response.message import joined_text


@dataclass(slots=True)
class Text:
    """A text in pieces."""

    pieces: list[str] = field(default_factory=list)

    def add(self, piece: str) -> int:
        self.pieces.append(piece)
        return len(piece)

    @property
    def whole(self) -> str:
        return "".join(self.pieces)


@dataclass(slots=True)
class Part:
    """A content part of a kind that carries text, or another one as it came."""

    kind: str | None
    text: Text = field(default_factory=Text)
    others: dict[str, Any] = field(default_factory=dict)

    def spelled(self) -> dict[str, Any]:
        if self.kind is None:
            return self.others
        whole: Any = self.text.whole
        if self.kind == "thinking":
            whole = [{"type": "text", "text": whole}]
        return {"type": self.kind, **self.others, self.kind: whole}


_KINDS = ("thinking", "refusal", "text")


@dataclass(slots=True)
class Content:
    """The content: strings, or lists of parts (Mistral), of which neighbours of one kind are one."""

    parts: list[Part] = field(default_factory=list)
    plain: bool = True
    """Whether nothing but strings has come."""
    came: bool = False

    def add(self, delta: Any) -> int:
        self.came = True
        if isinstance(delta, str):
            return self._text("text", delta)
        self.plain = False
        return sum(self._part(part) for part in (delta if isinstance(delta, list) else [delta]))

    def _part(self, part: Any) -> int:
        if isinstance(part, str):
            return self._text("text", part)
        if not isinstance(part, dict):
            return 0
        kind = next((kind for kind in _KINDS if kind in part), None)
        if kind is None:
            self.parts.append(Part(None, others=part))
            return 1
        count = self._text(kind, joined_text([part], kind))
        self.parts[-1].others |= {name: held for name, held in part.items() if name not in ("type", kind)}
        return count

    def _text(self, kind: str, piece: str) -> int:
        if not self.parts or self.parts[-1].kind != kind:
            self.parts.append(Part(kind))
        return self.parts[-1].text.add(piece)

    def spelled(self, *, alone: bool) -> Any:
        """The content; null where only an empty one came, and the answer is not `alone` in it."""
        if self.plain:
            whole = "".join(part.text.whole for part in self.parts)
            return whole if whole or (self.came and alone) else None
        return [part.spelled() for part in self.parts if part.kind is None or part.text.whole]


_BODIES = ("function", "custom")


@dataclass(slots=True)
class Call:
    """A tool call, or what is inside a legacy `function_call`."""

    index: int
    kind: str | None = None
    name: Any = None
    said: dict[str, Text] = field(default_factory=dict)
    """`arguments` or `input`."""
    others: dict[str, Any] = field(default_factory=dict)

    def add(self, delta: dict[str, Any]) -> int:
        count = 0
        for name, held in delta.items():
            if name in _BODIES and isinstance(held, dict):
                self.kind = name
                count += self.add_body(held)
            elif name == "id" or name == "type":
                # some servers repeat it, or send "" after it
                self.others[name] = self.others.get(name) or held
            elif name != "index" and held is not None:
                self.others[name] = held
        return count

    def add_body(self, body: dict[str, Any]) -> int:
        count = 0
        for name, held in body.items():
            if name == "name":
                count += len(str(held)) if held and not self.name else 0
                self.name = self.name or held
            elif name in ("arguments", "input") and held is not None:
                count += self.said.setdefault(name, Text()).add(text(held) or "")
            elif held is not None:
                self.others[name] = held
        return count

    def body(self, kind: str) -> dict[str, Any]:
        said = {name: pieces.whole for name, pieces in self.said.items()}
        return {"name": self.name, **({"input": ""} if kind == "custom" else {"arguments": ""}), **said}

    def spelled(self) -> dict[str, Any]:
        kind = self.kind or "function"
        known = {"id": self.others.get("id"), "type": self.others.get("type") or kind, kind: self.body(kind)}
        return known | {name: held for name, held in self.others.items() if name not in known}


@dataclass(slots=True)
class Calls:
    """The tool calls, by `index`; servers leave it out (Ollama, Gemini), or give it to several calls."""

    calls: list[Call] = field(default_factory=list)
    by_index: dict[int, Call] = field(default_factory=dict)
    by_id: dict[str, Call] = field(default_factory=dict)

    def add(self, deltas: Any) -> int:
        return sum(self._call(delta).add(delta) for delta in objects(deltas))

    def _call(self, delta: dict[str, Any]) -> Call:
        index, id_ = delta.get("index"), delta.get("id")
        known = self._known(delta)
        if known is None:
            known = Call(index if isinstance(index, int) else len(self.calls))
            self.calls.append(known)
        if isinstance(index, int):
            self.by_index[index] = known
        if isinstance(id_, str) and id_:
            self.by_id[id_] = known
        return known

    def _known(self, delta: dict[str, Any]) -> Call | None:
        """The call that a delta goes on with."""
        index, id_ = delta.get("index"), delta.get("id")
        named = any(isinstance(delta.get(kind), dict) and delta[kind].get("name") for kind in _BODIES)
        if isinstance(index, int):
            call = self.by_index.get(index)
            # Another id with another name is another call; an id alone some servers make anew each time.
            return None if call and named and id_ and call.others.get("id") not in (None, "", id_) else call
        if isinstance(id_, str) and id_:
            return self.by_id.get(id_)
        return self.calls[-1] if self.calls and not named else None

    def spelled(self) -> list[dict[str, Any]]:
        return [call.spelled() for call in sorted(self.calls, key=lambda call: call.index)]


@dataclass(slots=True)
class Sound:
    """The audio: its data comes in pieces that are base64 each, its transcript in pieces of text."""

    data: list[str] = field(default_factory=list)
    transcript: Text | None = None
    others: dict[str, Any] = field(default_factory=dict)

    def add(self, delta: dict[str, Any]) -> int:
        count = 0
        for name, held in delta.items():
            if name == "data" and isinstance(held, str):
                self.data.append(held)
                count += len(held)
            elif name == "transcript" and isinstance(held, str):
                self.transcript = self.transcript or Text()
                count += self.transcript.add(held)
            elif held is not None:
                self.others[name] = held
        return count

    def spelled(self) -> dict[str, Any]:
        data = {"data": self._base64()} if self.data else {}
        return {**self.others, **data, **({"transcript": self.transcript.whole} if self.transcript else {})}

    def _base64(self) -> str:
        """The pieces as one base64 text; where they are cuts of one, just joined."""
        try:
            sound = b"".join(base64.b64decode(piece, validate=True) for piece in self.data)
        except ValueError:
            return "".join(self.data)
        return base64.b64encode(sound).decode()


@dataclass(slots=True)
class Details:
    """OpenRouter's `reasoning_details`: neighbours of one type and index are one."""

    entries: list[tuple[dict[str, Any], dict[str, Text]]] = field(default_factory=list)

    def add(self, deltas: Any) -> int:
        return sum(self._detail(delta) for delta in objects(deltas))

    def _detail(self, delta: dict[str, Any]) -> int:
        same = ("type", "index")
        if not self.entries or any(self.entries[-1][0].get(name) != delta.get(name) for name in same):
            self.entries.append(({name: delta[name] for name in same if name in delta}, {}))
        members, texts = self.entries[-1]
        count = 0
        for name, held in delta.items():
            if name in ("text", "summary", "data") and isinstance(held, str):
                count += texts.setdefault(name, Text()).add(held)
            elif held is not None:
                members[name] = held
        return count

    def spelled(self) -> list[dict[str, Any]]:
        return [
            members | {name: pieces.whole for name, pieces in texts.items()}
            for members, texts in self.entries
        ]
