"""The message of an answer (`ChatCompletionMessage`), in every form that servers give it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from batchrun.chat.response.lenient import first_text, integer, members, objects, some_text, text
from batchrun.value import value

_REASONING = ("reasoning_content", "reasoning", "thinking")
"""DeepSeek, vLLM, xAI and Moonshot; OpenRouter, Groq and newer vLLM; Ollama."""


@value(frozen=True, slots=True)
class ToolCall:
    """One call the model asks for: of a function (`arguments`, JSON text) or a custom tool (`input`)."""

    id: str | None
    type: str
    name: str | None
    arguments: str | None
    input: str | None


@value(frozen=True, slots=True)
class Audio:
    """A spoken answer (`ChatCompletionAudio`); its format is the request's, the answer does not name it."""

    id: str | None
    data: bytes | None
    transcript: str | None
    expires_at: int | None
    """Seconds since the epoch, until when `id` may stand for the audio in a later message."""


def read_content(message: Mapping[str, Any]) -> str | None:
    """Its text; where the content is a list of parts, that of the text parts joined."""
    content = message.get("content")
    if isinstance(content, list):
        return joined_text(content, "text")
    return text(content)


def read_refusal(message: Mapping[str, Any]) -> str | None:
    """Its refusal, a member or a content part (`ChatCompletionContentPartRefusal`)."""
    refusal = message.get("refusal")
    return text(refusal) if refusal is not None else joined_text(message.get("content"), "refusal") or None


def read_reasoning(message: Mapping[str, Any]) -> str | None:
    """What the model thought aloud, under the first name that says something.

    A member of `_REASONING`; OpenRouter's `reasoning_details` of the kinds text and summary;
    content parts of type `thinking` (Mistral, Lightcone).
    """
    found = first_text(message, *_REASONING)
    if found is None and (details := message.get("reasoning_details")):
        found = "".join(first_text(detail, "text", "summary") or "" for detail in objects(details))
    return found or joined_text(message.get("content"), "thinking") or None


def holds_unread(message: Mapping[str, Any]) -> bool:
    """Whether the model made something that no column has: OpenRouter's pictures and encrypted reasoning."""
    return bool(objects(message.get("images")) or objects(message.get("reasoning_details")))


def joined_text(parts: Any, kind: str) -> str:
    """The text that content parts of one kind carry under its name, or below it in parts of their own.

    `parts` that are no list, and parts of other kinds, carry none.
    """
    return "".join(_texts(parts, kind)) if isinstance(parts, list) else ""


def _texts(parts: list[Any], kind: str) -> Iterator[str]:
    for part in parts:
        held = part.get(kind) if isinstance(part, dict) else part if kind == "text" else None
        if isinstance(held, str):
            yield held
        elif isinstance(held, list):
            yield "".join(inner["text"] for inner in objects(held) if isinstance(inner.get("text"), str))


def read_tool_calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """Its calls; the deprecated `function_call` is one without an id."""
    if calls := objects(message.get("tool_calls")):
        return tuple(map(_tool_call, calls))
    legacy = message.get("function_call")
    return (_tool_call({"type": "function", "function": legacy}),) if members(legacy) else ()


def _tool_call(call: dict[str, Any]) -> ToolCall:
    kind = "custom" if isinstance(call.get("custom"), dict) else "function"
    body = members(call.get(kind))
    return ToolCall(
        id=text(call.get("id")),
        type=some_text(call.get("type")) or kind,
        name=text(body.get("name")),
        arguments=text(body.get("arguments")),
        input=text(body.get("input")),
    )


def read_audio(message: Mapping[str, Any]) -> Audio | None:
    """Its spoken form, the sound decoded from base64."""
    audio = members(message.get("audio"))
    if not audio:
        return None
    return Audio(
        id=text(audio.get("id")),
        data=_decoded(audio.get("data")),
        transcript=text(audio.get("transcript")),
        expires_at=integer(audio.get("expires_at")),
    )


def _decoded(data: Any) -> bytes | None:
    """Base64 as bytes, padded or not, after a data URL's head or alone; None where it is none."""
    if not isinstance(data, str):
        return None
    if data.startswith("data:"):
        data = data.partition(",")[2]
    try:
        return base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
    except ValueError:
        return None
