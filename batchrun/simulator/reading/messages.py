"""Reads the messages of a request, and refuses a list that OpenAI would refuse. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchrun.simulator.reading.checks import array, mapping, missing, needed_text, one_of, text, wrong
from batchrun.simulator.reading.content import Part, read_content
from batchrun.simulator.refusal import Refusal, RefusedError

ROLES = ("developer", "system", "user", "assistant", "tool", "function")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the messages say."""

    messages: Sequence[Mapping[str, Any]]
    """As they came."""
    question: str
    """Text of the last user message."""
    prompt: str
    """All text."""
    notes: tuple[str, ...]
    """What is seen of the media, in order."""
    media_tokens: int
    audio_tokens: int
    """Those of the media's tokens that are sound."""
    results: tuple[tuple[str, str], ...]
    """The tool results at the end: the tool's name and what it gave."""
    used_tools: bool
    """A tool or function has given a result already, wherever in the conversation."""


def read_messages(messages: Any) -> Conversation:
    """Check and read `messages`. Raises RefusedError, naming the member at fault."""
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "expected a non-empty array of objects")
    read = [_message(message, place) for place, message in enumerate(messages)]
    _check_calls(messages)
    parts = [part for _, found in read for part in found]
    return Conversation(
        messages=messages,
        question=next((joined(found) for role, found in reversed(read) if role == "user"), ""),
        prompt="".join(joined(found) for _, found in read),
        notes=tuple(part.note for part in parts if part.note is not None),
        media_tokens=sum(part.tokens for part in parts),
        audio_tokens=sum(part.audio_tokens for part in parts),
        results=_results(messages, read),
        used_tools=any(role in ("tool", "function") for role, _ in read),
    )


def joined(parts: Sequence[Part]) -> str:
    """The text of a message."""
    return "\n".join(part.text for part in parts if part.text is not None)


def _message(message: Any, place: int) -> tuple[str, list[Part]]:
    param = f"messages[{place}]"
    if not isinstance(message, dict):
        raise wrong(param, "expected an object")
    role = one_of(message.get("role"), f"{param}.role", ROLES)
    if role is None:
        raise missing(f"{param}.role")
    if role == "tool":
        needed_text(message.get("tool_call_id"), f"{param}.tool_call_id")
    name = text(message.get("name"), f"{param}.name")
    if role == "function" and not name:
        raise missing(f"{param}.name")
    content = message.get("content")
    if content is not None:
        return role, read_content(content, role, f"{param}.content")
    if role == "function" or (role == "assistant" and _says_otherwise(message, param)):
        return role, []
    raise wrong(f"{param}.content", "expected a string or an array of content parts, got null")


def _says_otherwise(message: Mapping[str, Any], param: str) -> bool:
    """An assistant message without content says something by one of its other members."""
    text(message.get("refusal"), f"{param}.refusal")
    if audio := mapping(message.get("audio"), f"{param}.audio"):
        needed_text(audio.get("id"), f"{param}.audio.id")
    others = ("refusal", "audio", "tool_calls", "function_call", "reasoning", "reasoning_content")
    return any(message.get(name) for name in others)


def _check_calls(messages: Sequence[Mapping[str, Any]]) -> None:
    """Each tool message answers a call of the assistant message before it, and each call is answered."""
    open_ids: dict[str, int] = {}
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            _answer_call(open_ids, message["tool_call_id"], place)
            continue
        _check_answered(open_ids)
        answered = message["role"] == "assistant"
        open_ids = dict.fromkeys(_call_ids(message, place), place) if answered else {}
    _check_answered(open_ids)


def _answer_call(open_ids: dict[str, int], call: str, place: int) -> None:
    if open_ids.pop(call, None) is None:
        message = (
            f"Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
            f"'tool_calls': none has the id '{call}' and awaits one."
        )
        raise RefusedError(Refusal(400, message, param=f"messages[{place}].tool_call_id"))


def _check_answered(open_ids: Mapping[str, int]) -> None:
    if open_ids:
        message = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: "
            + ", ".join(open_ids)
        )
        raise RefusedError(Refusal(400, message, param=f"messages[{min(open_ids.values())}].tool_calls"))


def _call_ids(message: Mapping[str, Any], place: int) -> list[str]:
    """The ids of an assistant message's tool calls, each of them checked."""
    found = []
    _check_legacy_call(message.get("function_call"), f"messages[{place}].function_call")
    for number, call in enumerate(array(message.get("tool_calls"), f"messages[{place}].tool_calls", dict)):
        param = f"messages[{place}].tool_calls[{number}]"
        kind = one_of(call.get("type"), f"{param}.type", tuple(_CALLS)) or "function"
        said = mapping(call.get(kind), f"{param}.{kind}")
        for member in ("name", _CALLS[kind]):
            needed_text(said.get(member), f"{param}.{kind}.{member}")
        found.append(needed_text(call.get("id"), f"{param}.id"))
    return found


_CALLS = {"function": "arguments", "custom": "input"}


def _check_legacy_call(call: Any, param: str) -> None:
    for member in ("name", "arguments") if mapping(call, param) else ():
        needed_text(call.get(member), f"{param}.{member}")


def _results(
    messages: Sequence[Mapping[str, Any]], read: Sequence[tuple[str, list[Part]]]
) -> tuple[tuple[str, str], ...]:
    names: dict[Any, str] = {}
    found: list[tuple[str, str]] = []
    for message, (role, parts) in zip(messages, read, strict=True):
        if role not in ("tool", "function"):
            found.clear()
            calls = message.get("tool_calls") if role == "assistant" else None
            names |= {call["id"]: _name(call) for call in calls or ()}
        else:
            name = message["name"] if role == "function" else names[message["tool_call_id"]]
            found.append((name, joined(parts)))
    return tuple(found)


def _name(call: Mapping[str, Any]) -> str:
    name: str = call[call.get("type") or "function"]["name"]
    return name
