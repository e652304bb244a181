"""The answer of a chat completion call, read leniently.

Names follow OpenAI's Chat Completions reference (`ChatCompletion`, `ChatCompletionMessage`,
`CompletionUsage`). Real servers leave documented members out, add others and change types; what
can be read is read, and only an answer without any message in it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchrun import codec
from batchrun.outcome import Usage

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

_CUT = frozenset({"length", "content_filter"})
"""Reasons to finish that explain a message without content: all of it was reasoning, or filtered."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call the model asks for: of a function (`arguments`, JSON text) or a custom tool (`input`)."""

    id: str | None
    type: str
    name: str | None
    arguments: str | None
    input: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers of a completion (`ChatCompletion.Choice` and its message)."""

    content: str | None
    refusal: str | None
    reasoning: str | None
    finish_reason: str | None
    tool_calls: tuple[ToolCall, ...]
    logprobs: tuple[Mapping[str, Any], ...] | None
    """`ChatCompletionTokenLogprob` of each token of the content, as the server gave them."""
    annotations: tuple[Mapping[str, Any], ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it that anyone asked for."""
        return not (self.content or self.refusal or self.tool_calls)


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer (`ChatCompletion`)."""

    id: str | None
    model: str | None
    system_fingerprint: str | None
    service_tier: str | None
    choices: tuple[Choice, ...]
    usage: Usage | None
    cost_usd: float | None
    """What the server says the call cost (OpenRouter's `usage.cost`)."""
    repaired: bool
    """A lone surrogate was replaced by U+FFFD."""


@dataclass(frozen=True, slots=True)
class ErrorInside:
    """A body that carries an error, although the status was 200."""

    error: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A body that holds no answer, and why."""

    reason: str


def read_completion(body: bytes) -> Completion | ErrorInside | NoAnswer:
    """Read the body of a 2xx answer. Never raises."""
    try:
        document = codec.loads(body)
        repaired = False
        if _SURROGATE_ESCAPE.search(body):
            document, repaired = _without_surrogates(document)
    except (ValueError, RecursionError) as error:
        return NoAnswer("the body is empty" if not body.strip() else f"the body is no JSON: {error}")
    if not isinstance(document, dict):
        return NoAnswer("the body is no JSON object")
    if inside := document.get("error"):
        return ErrorInside(inside if isinstance(inside, dict) else {"message": _said(inside)})
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices:
        return NoAnswer("the answer has no choices")
    read = tuple(_choice(choice) for choice in choices if _message(choice) is not None)
    if not read:
        return NoAnswer("the answer's choice has no message")
    if read[0].content is None and read[0].is_empty and read[0].finish_reason not in _CUT:
        return NoAnswer("the message has neither content, nor a refusal, nor tool calls")
    return Completion(
        id=_text(document.get("id")),
        model=_text(document.get("model")),
        system_fingerprint=_text(document.get("system_fingerprint")),
        service_tier=_text(document.get("service_tier")),
        choices=read,
        usage=_usage(document.get("usage")),
        cost_usd=_cost(document.get("usage")),
        repaired=repaired,
    )


def _said(inside: object) -> str:
    try:
        return str(inside)
    except RecursionError:
        return "the server's error is nested too deeply"


def _message(choice: Any) -> dict[str, Any] | None:
    message = choice.get("message") if isinstance(choice, dict) else None
    return message if isinstance(message, dict) else None


def _choice(choice: dict[str, Any]) -> Choice:
    message = _message(choice) or {}
    return Choice(
        content=_content(message.get("content")),
        refusal=_text(message.get("refusal")),
        reasoning=_text(message.get("reasoning_content") or message.get("reasoning")),
        finish_reason=_text(choice.get("finish_reason")),
        tool_calls=tuple(_tool_call(call) for call in _objects(message.get("tool_calls"))),
        logprobs=_logprobs(choice.get("logprobs")),
        annotations=tuple(_objects(message.get("annotations"))),
    )


def _content(content: Any) -> str | None:
    """Text, or the text parts of a list of content parts joined."""
    if isinstance(content, list):
        return "".join(part["text"] for part in _objects(content) if isinstance(part.get("text"), str))
    return _text(content)


def _tool_call(call: dict[str, Any]) -> ToolCall:
    kind = "custom" if isinstance(call.get("custom"), dict) else "function"
    body = call.get(kind)
    body = body if isinstance(body, dict) else {}
    return ToolCall(
        id=_text(call.get("id")),
        type=_text(call.get("type")) or kind,
        name=_text(body.get("name")),
        arguments=_text(body.get("arguments")),
        input=_text(body.get("input")),
    )


def _logprobs(logprobs: Any) -> tuple[Mapping[str, Any], ...] | None:
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    return tuple(_objects(content)) if isinstance(content, list) else None


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    prompt = usage.get("prompt_tokens_details")
    prompt = prompt if isinstance(prompt, dict) else {}
    completion = usage.get("completion_tokens_details")
    completion = completion if isinstance(completion, dict) else {}
    return Usage(
        prompt_tokens=_integer(usage.get("prompt_tokens")),
        completion_tokens=_integer(usage.get("completion_tokens")),
        total_tokens=_integer(usage.get("total_tokens")),
        cached_tokens=_integer(prompt.get("cached_tokens")),
        reasoning_tokens=_integer(completion.get("reasoning_tokens")),
        prompt_audio_tokens=_integer(prompt.get("audio_tokens")),
        completion_audio_tokens=_integer(completion.get("audio_tokens")),
        accepted_prediction_tokens=_integer(completion.get("accepted_prediction_tokens")),
        rejected_prediction_tokens=_integer(completion.get("rejected_prediction_tokens")),
    )


def _cost(usage: Any) -> float | None:
    cost = usage.get("cost") if isinstance(usage, dict) else None
    if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not abs(cost) < 1e9:
        return None
    return float(cost)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    try:
        return codec.dumps(value).decode()
    except ValueError:  # what is nested so deeply is nobody's text
        return None


def _integer(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if value == value and abs(value) < 2**63 else None


def _without_surrogates(value: Any) -> tuple[Any, bool]:
    if isinstance(value, str):
        cleaned = _LONE_SURROGATE.sub("\ufffd", value)
        return cleaned, cleaned is not value and cleaned != value
    if isinstance(value, list):
        pairs = [_without_surrogates(item) for item in value]
        return [item for item, _ in pairs], any(changed for _, changed in pairs)
    if isinstance(value, dict):
        members = {key: _without_surrogates(item) for key, item in value.items()}
        return {key: item for key, (item, _) in members.items()}, any(c for _, c in members.values())
    return value, False
