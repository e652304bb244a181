"""Messages as the API takes them: built from answers, and flattened for the `messages` column.

An answer goes back to the model as `ChatCompletionAssistantMessageParam`, what a function gave as
`ChatCompletionToolMessageParam` (OpenAI's reference; `ChatCompletionFunctionMessageParam` for the
deprecated `functions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from batchrun import codec
from batchrun.chat.response.completion import Choice, ToolCall

Message: TypeAlias = Mapping[str, Any]

_LONGEST_SOURCE = 200
"""Characters of a URL or of data that a part's `source` keeps."""


_WORDS = ("text", "refusal", "thinking")
"""Types of parts whose member of the same name is text."""


def assistant_message(choice: Choice, *, legacy: bool = False) -> dict[str, Any]:
    """The answer as a message of the conversation that goes on; `legacy` calls by `function_call`."""
    heard = choice.audio is not None and choice.audio.id is not None
    message: dict[str, Any] = {"role": "assistant", "content": choice.content if heard else said(choice)}
    if choice.refusal is not None:
        message["refusal"] = choice.refusal
    if choice.audio is not None and heard:
        message["audio"] = {"id": choice.audio.id}
    if choice.tool_calls and legacy:
        call = choice.tool_calls[0]
        message["function_call"] = {"name": call.name, "arguments": call.arguments or ""}
    elif choice.tool_calls:
        message["tool_calls"] = [_spelled(call, at) for at, call in enumerate(choice.tool_calls)]
    return message


def said(choice: Choice) -> str | None:
    """The text of an answer; of a spoken one, its transcript."""
    return choice.content or (choice.audio.transcript if choice.audio else None) or choice.content


def result_messages(
    calls: Sequence[ToolCall], results: Iterable[str], *, legacy: bool = False
) -> list[dict[str, Any]]:
    """What the called functions gave, a message each, in the order of the calls."""
    if legacy:
        return [
            {"role": "function", "name": call.name, "content": result}
            for call, result in zip(calls[:1], results, strict=False)
        ]
    return [
        {"role": "tool", "tool_call_id": _id(call, at), "content": result}
        for at, (call, result) in enumerate(zip(calls, results, strict=True))
    ]


def _id(call: ToolCall, at: int) -> str:
    return call.id or f"call_{at}"  # some servers give none


def _spelled(call: ToolCall, at: int) -> dict[str, Any]:
    if call.type == "custom":
        return {
            "id": _id(call, at),
            "type": "custom",
            "custom": {"name": call.name, "input": call.input or ""},
        }
    function = {"name": call.name, "arguments": call.arguments or ""}
    return {"id": _id(call, at), "type": "function", "function": function}


def flattened(message: Message) -> dict[str, Any]:
    """A message as an entry of the `messages` column.

    `content` is its text, or that of its text parts, a line each; `parts` says what else there is.
    """
    content = message.get("content")
    parts = [_part(part) for part in content] if isinstance(content, list) else None
    return {
        "role": _text(message.get("role")),
        "content": _joined(parts) if parts is not None else _text(content),
        "parts": parts,
        "name": _text(message.get("name")),
        "tool_call_id": _text(message.get("tool_call_id")),
        "tool_calls": [_flat_call(call) for call in _calls(message)] or None,
        "refusal": _text(message.get("refusal")),
        "reasoning": _text(message.get("reasoning") or message.get("reasoning_content")),
    }


def _part(part: Any) -> dict[str, Any]:
    if not isinstance(part, Mapping):
        return {"type": "text", "text": _text(part), "source": None}
    kind = part.get("type") or next((name for name in part if name.endswith("_url")), None)
    text = next((part[name] for name in _WORDS if part.get(name) is not None), None)
    source = None if kind in _WORDS else _source(part.get(str(kind)))
    return {"type": _text(kind), "text": _text(text), "source": source}


def _source(inner: Any) -> str | None:
    """Where the media of a part comes from; the data itself is told by its length."""
    if isinstance(inner, Mapping):
        found = (inner.get(name) for name in ("url", "filename", "file_id", "file_data", "data"))
        inner = next((item for item in found if item is not None), None)
    if not isinstance(inner, str):
        return None
    if inner.startswith("data:"):
        return f"{inner.partition(',')[0]} ({len(inner):,} characters)"
    return inner if len(inner) <= _LONGEST_SOURCE else f"{inner[:20]}… ({len(inner):,} characters)"


def _joined(parts: list[dict[str, Any]]) -> str | None:
    texts = [part["text"] for part in parts if part["text"] is not None]
    return "\n".join(texts) if texts else None


def _calls(message: Message) -> list[Mapping[str, Any]]:
    calls = message.get("tool_calls")
    found = [call for call in calls if isinstance(call, Mapping)] if isinstance(calls, list) else []
    legacy = message.get("function_call")
    return [*found, {"type": "function", "function": legacy}] if isinstance(legacy, Mapping) else found


def _flat_call(call: Mapping[str, Any]) -> dict[str, Any]:
    kind = "custom" if isinstance(call.get("custom"), Mapping) else "function"
    body = call.get(kind)
    body = body if isinstance(body, Mapping) else {}
    return {
        "id": _text(call.get("id")),
        "type": kind,
        "name": _text(body.get("name")),
        "arguments": _text(body.get("arguments")),
        "input": _text(body.get("input")),
    }


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return codec.scrubbed(value if isinstance(value, str) else codec.dumps(value).decode())
