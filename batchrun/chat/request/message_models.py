"""The messages of a conversation, as a job spells them.

Names in the docstrings are the types' names in OpenAI's API reference, or in Lightcone's.
Messages that come with a row are data and held to less: see `messages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import Field, Tag

from batchrun.chat.request.content_parts import AssistantPart, TextOnly, UserPart
from batchrun.chat.request.members import LIST_OR_TEXT, Free, KindOf, Members, Text, kinds, member_name

_Part = TypeVar("_Part")


Content: TypeAlias = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[_Part], Field(min_length=1), Tag("<list>")],
    LIST_OR_TEXT,
]
"""A text, which is a template, or a list of parts."""


class Message(Members):
    """What all messages share."""

    role: str
    """Who speaks: system, developer, user, assistant, tool or function."""
    content: Any
    """A minijinja template over the row's columns and `vars`, or a list of parts."""
    name: Text | None = None
    """The speaker's name, where several share a role."""
    extra_body: dict[str, Free] | None = None
    """Further members of this message, for what an endpoint adds to the standard."""


class SystemMessage(Message):
    """Instructions for older models (OpenAI: ChatCompletionSystemMessageParam)."""

    role: Literal["system"]
    """system"""
    content: Content[TextOnly]
    """A minijinja template over the row's columns and `vars`, or a list of text parts."""


class DeveloperMessage(Message):
    """Instructions for reasoning models (OpenAI: ChatCompletionDeveloperMessageParam)."""

    role: Literal["developer"]
    """developer"""
    content: Content[TextOnly]
    """A minijinja template over the row's columns and `vars`, or a list of text parts."""


class UserMessage(Message):
    """What is asked (OpenAI: ChatCompletionUserMessageParam)."""

    role: Literal["user"]
    """user"""
    content: Content[UserPart]
    """A minijinja template over the row's columns and `vars`, or a list of parts: text, image_url, …"""


class CalledFunction(Members):
    """A function and what it was called with (OpenAI: ChatCompletionMessageFunctionToolCall.function)."""

    name: Text
    """The function's name."""
    arguments: Text
    """The arguments, as JSON text."""


class FunctionCall(Members):
    """A call of a function (OpenAI: ChatCompletionMessageFunctionToolCall)."""

    id: Text
    """The call's id, which the tool's message repeats."""
    type: Literal["function"]
    """function"""
    function: CalledFunction
    """The function."""
    extra_body: dict[str, Free] | None = None
    """Further members of this call."""


class CalledCustomTool(Members):
    """A custom tool and its input (OpenAI: ChatCompletionMessageCustomToolCall.custom)."""

    name: Text
    """The tool's name."""
    input: Text
    """What it was given."""


class CustomCall(Members):
    """A call of a custom tool (OpenAI: ChatCompletionMessageCustomToolCall)."""

    id: Text
    """The call's id, which the tool's message repeats."""
    type: Literal["custom"]
    """custom"""
    custom: CalledCustomTool
    """The tool."""
    extra_body: dict[str, Free] | None = None
    """Further members of this call."""


ToolCall: TypeAlias = Annotated[FunctionCall | CustomCall, KindOf("type")]


class EarlierAudio(Members):
    """An audio answer given before (OpenAI: ChatCompletionAssistantMessageParam.audio)."""

    id: Text
    """The id of that answer's audio."""


class AssistantMessage(Message):
    """What the model said before (OpenAI: ChatCompletionAssistantMessageParam)."""

    role: Literal["assistant"]
    """assistant"""
    content: Content[AssistantPart] | None = None
    """A minijinja template, or a list of parts: text, refusal, thinking. None beside tool calls."""
    refusal: Text | None = None
    """What the model said when it refused."""
    tool_calls: list[ToolCall] | None = None
    """The tools that the model called."""
    audio: EarlierAudio | None = None
    """The audio answer that the model gave."""
    function_call: CalledFunction | None = None
    """The older form of tool_calls."""
    reasoning: Text | None = None
    """Lightcone: the thoughts behind the answer."""


class ToolMessage(Message):
    """What a tool gave (OpenAI: ChatCompletionToolMessageParam)."""

    role: Literal["tool"]
    """tool"""
    content: Content[TextOnly]
    """A minijinja template, or a list of text parts."""
    tool_call_id: Text
    """The id of the call that is answered."""


class FunctionMessage(Message):
    """What a function gave, in the older form (OpenAI: ChatCompletionFunctionMessageParam)."""

    role: Literal["function"]
    """function"""
    content: Text | None
    """A minijinja template, or null."""
    name: Text
    """The function's name."""


AnyMessage: TypeAlias = Annotated[
    SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    KindOf("role"),
]
"""A message of any role."""

_ROLES = kinds(AnyMessage, "role")
_ITEMS = {"content": kinds(UserPart, "type"), "tool_calls": kinds(ToolCall, "type")}
"""What the lists in a message are made of."""


def as_spelled(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as a job spells it again: what an endpoint adds is back in `extra_body`.

    The other way round from `plain()`, for a message of one of the six roles.
    """
    spelled = _apart(message, _ROLES[message["role"]])
    for key, by_type in _ITEMS.items():
        if isinstance(items := spelled.get(key), list):
            spelled[key] = [_apart(item, by_type[item["type"]]) for item in items]
    return spelled


def _apart(document: Mapping[str, Any], kind: type[Members]) -> dict[str, Any]:
    known = {member_name(kind, name) for name in kind.model_fields} - {"extra_body"}
    added = {name: value for name, value in document.items() if name not in known}
    rest = {name: value for name, value in document.items() if name in known}
    return rest | ({"extra_body": added} if added else {})
