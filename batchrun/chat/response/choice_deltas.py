"""One choice of a streamed answer (`ChatCompletionChunk.Choice`), put together again."""

from __future__ import annotations

from typing import Any

from batchrun.chat.response import json_pieces
from batchrun.chat.response.deltas import Call, Calls, Content, Details, Sound, Text

_TEXTS = frozenset({"refusal", "reasoning_content", "reasoning", "thinking"})


class MessageDeltas:
    """A message as its deltas come. What it has no rule for is kept: lists joined, of the rest the last."""

    def __init__(self) -> None:
        self._content = Content()
        self._texts: dict[str, Text] = {}
        self._calls: Calls | None = None
        self._function: Call | None = None
        self._audio: Sound | None = None
        self._details: Details | None = None
        self._lists: dict[str, list[Any]] = {}
        self._others: dict[str, Any] = {}

    def add(self, delta: dict[str, Any]) -> int:
        """Take one delta; how many characters of the answer it brings."""
        return sum(self._member(name, held) for name, held in delta.items() if held is not None)

    def _member(self, name: str, held: Any) -> int:
        if name == "content":
            return self._content.add(held)
        if name in _TEXTS and isinstance(held, str):
            return self._texts.setdefault(name, Text()).add(held)
        if isinstance(held, list):
            return self._list(name, held)
        if name == "function_call" and isinstance(held, dict):
            self._function = self._function or Call(0)
            return self._function.add_body(held)
        if name == "audio" and isinstance(held, dict):
            self._audio = self._audio or Sound()
            return self._audio.add(held)
        self._others[name] = held
        return 0

    def _list(self, name: str, held: list[Any]) -> int:
        if name == "tool_calls":
            self._calls = self._calls or Calls()
            return self._calls.add(held)
        if name == "reasoning_details":
            self._details = self._details or Details()
            return self._details.add(held)
        self._lists.setdefault(name, []).extend(held)
        return 0

    def spelled(self) -> bytes:
        """The message as JSON."""
        texts = {name: text.whole for name, text in self._texts.items()}
        beside = bool(texts.get("refusal") or self._calls or self._function or self._audio)
        content = self._content.spelled(alone=not beside)
        if content is None and "role" in self._others and not (beside or texts or self._details):
            content = ""  # llama.cpp, where the stop text comes first: whole, the same answer has it empty
        found = {
            "role": self._others.get("role") or "assistant",
            "content": content,
            "refusal": texts.get("refusal"),
            **texts,
            **({"reasoning_details": self._details.spelled()} if self._details else {}),
            **({"tool_calls": self._calls.spelled()} if self._calls else {}),
            **({"function_call": self._function.body("function")} if self._function else {}),
            **({"audio": self._audio.spelled()} if self._audio else {}),
            **self._lists,
        }
        found |= {name: held for name, held in self._others.items() if name not in found}
        return json_pieces.object_((name, json_pieces.value(held)) for name, held in found.items())


class LogprobDeltas:
    """The logprobs of a choice. They are by far its largest part, so they are kept as JSON text."""

    def __init__(self) -> None:
        self._lists: dict[str, bytearray] = {}
        self._others: dict[str, Any] = {}

    def add(self, logprobs: dict[str, Any]) -> None:
        for name, held in logprobs.items():
            if isinstance(held, list):
                text = self._lists.setdefault(name, bytearray())
                for item in held:
                    text += b"," + json_pieces.exact_value(item)
            elif held is not None:
                self._others[name] = held

    def spelled(self) -> bytes:
        found = {"content": b"null", "refusal": b"null"}
        found |= {name: json_pieces.value(held) for name, held in self._others.items()}
        found |= {name: b"[" + text[1:] + b"]" for name, text in self._lists.items()}
        return json_pieces.object_(found.items())


class ChoiceDeltas:
    """A choice as its deltas come."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.finish_reason: Any = None
        self._message: MessageDeltas | None = None
        self._logprobs: LogprobDeltas | None = None
        self._token_ids: list[Any] | None = None
        self._others: dict[str, Any] = {}

    def add(self, choice: dict[str, Any]) -> int:
        """Take one chunk's part of this choice; how many characters of the answer it brings."""
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        if isinstance(logprobs := choice.get("logprobs"), dict):
            self._logprobs = self._logprobs or LogprobDeltas()
            self._logprobs.add(logprobs)
        if isinstance(ids := choice.get("token_ids"), list):
            self._token_ids = [] if self._token_ids is None else self._token_ids
            self._token_ids.extend(ids)
        self._others |= {
            name: held for name, held in choice.items() if name not in _KNOWN and held is not None
        }
        delta = _delta(choice)
        if delta is None:
            return 0
        self._message = self._message or MessageDeltas()
        return self._message.add(delta)

    def spelled(self) -> bytes:
        """The choice as JSON."""
        found = {
            "index": json_pieces.value(self.index),
            "message": self._message.spelled() if self._message else b"null",
            "logprobs": self._logprobs.spelled() if self._logprobs else b"null",
            "finish_reason": json_pieces.value(self.finish_reason),
        }
        if self._token_ids is not None:
            found["token_ids"] = json_pieces.value(self._token_ids)
        found |= {name: json_pieces.value(held) for name, held in self._others.items()}
        return json_pieces.object_(found.items())


_KNOWN = frozenset({"index", "delta", "message", "text", "logprobs", "finish_reason", "token_ids", "usage"})


def _delta(choice: dict[str, Any]) -> dict[str, Any] | None:
    """The delta; of a server that streams whole messages the message, of the legacy API the text."""
    for name in ("delta", "message"):
        if isinstance(held := choice.get(name), dict):
            return held
    return {"content": choice["text"]} if isinstance(choice.get("text"), str) else None
