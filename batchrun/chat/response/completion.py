"""The answer of a chat completion call, read leniently.

Names follow OpenAI's Chat Completions reference (`ChatCompletion`, `ChatCompletionMessage`,
`CompletionUsage`). Real servers leave documented members out, add others and change types; what
can be read is read, and only an answer without any message in it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batchrun import codec
from batchrun.chat.response.lenient import is_integer, objects, some_text, text
from batchrun.chat.response.logprobs import (
    PromptToken,
    Token,
    read_logprobs,
    read_prompt_logprobs,
    read_token_ids,
)
from batchrun.chat.response.message import (
    Audio,
    ToolCall,
    holds_unread,
    read_audio,
    read_content,
    read_reasoning,
    read_refusal,
    read_tool_calls,
)
from batchrun.chat.response.usage import NO_BILL, Bill, read_bill
from batchrun.chat.schema.json_text import cleaned
from batchrun.value import value

__all__ = ["Audio", "Choice", "Completion", "ErrorInside", "NoAnswer", "ToolCall", "read_completion"]

_BOM = b"\xef\xbb\xbf"
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")

_CUT = frozenset({"length", "content_filter"})
"""Reasons to finish that explain a message without content: all of it was reasoning, or filtered."""


@value(frozen=True, slots=True)
class Choice:
    """One of the answers of a completion (`ChatCompletion.Choice` and its message)."""

    content: str | None
    refusal: str | None
    reasoning: str | None
    finish_reason: str | None
    tool_calls: tuple[ToolCall, ...]
    logprobs: tuple[Token, ...] | None
    """`ChatCompletionTokenLogprob` of each token of the content, as the server gave them."""
    annotations: tuple[Mapping[str, Any], ...]
    refusal_logprobs: tuple[Token, ...] | None = None
    audio: Audio | None = None
    token_ids: tuple[int, ...] | None = None
    """The ids of the answer's tokens (vLLM's `return_token_ids`)."""
    index: int = 0
    unread: bool = False
    """Whether the message holds something beside these members, such as images."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it that anyone asked for."""
        return not (self.content or self.refusal or self.tool_calls or self.audio)


@value(frozen=True, slots=True)
class Completion:
    """A whole answer (`ChatCompletion`)."""

    id: str | None
    model: str | None
    system_fingerprint: str | None
    choices: tuple[Choice, ...]
    """At least one, ordered by `index`."""
    bill: Bill
    repaired: bool
    """A lone surrogate was replaced by U+FFFD."""
    prompt_logprobs: tuple[tuple[PromptToken, ...] | None, ...] | None = None


@value(frozen=True, slots=True)
class ErrorInside:
    """A body that carries an error, although the status was 200."""

    error: Mapping[str, Any]
    bill: Bill = NO_BILL
    """What the call took all the same."""


@value(frozen=True, slots=True)
class NoAnswer:
    """A body that holds no answer, and why."""

    reason: str
    bill: Bill = NO_BILL
    """What the call took all the same."""


def read_completion(body: bytes) -> Completion | ErrorInside | NoAnswer:
    """Read the body of a 2xx answer. Never raises."""
    body = body.removeprefix(_BOM)  # which JSON forbids, and lets its readers pass over (RFC 8259, 8.1)
    try:
        document = codec.loads(body)
        repaired = False
        if _SURROGATE_ESCAPE.search(body):
            document, repaired = cleaned(document)
    except (ValueError, RecursionError) as error:
        return NoAnswer("the body is empty" if not body.strip() else f"the body is no JSON: {error}")
    if not isinstance(document, dict):
        return NoAnswer("the body is no JSON object")
    listed = objects(document.get("choices"))
    choices = _choices(listed)
    bill = read_bill(document)
    if inside := _error(document, listed, choices):
        return ErrorInside(inside, bill)
    if reason := _lack(document, choices):
        return NoAnswer(reason, bill)
    return Completion(
        id=text(document.get("id")),
        model=text(document.get("model")),
        system_fingerprint=text(document.get("system_fingerprint")),
        choices=choices,
        bill=bill,
        repaired=repaired,
        prompt_logprobs=read_prompt_logprobs(document.get("prompt_logprobs")),
    )


def _error(
    document: dict[str, Any], listed: list[dict[str, Any]], choices: tuple[Choice, ...]
) -> Mapping[str, Any] | None:
    """The error that the answer carries, if any."""
    # OpenRouter names what stopped a choice in the choice itself.
    inside = document.get("error")
    for choice in listed:
        inside = inside or choice.get("error")
    if inside:
        return inside if isinstance(inside, dict) else {"message": _said(inside)}
    if document.get("object") == "error":  # older vLLM: the error is the document
        return document
    stopped = choices[0].finish_reason if choices else next((c.get("finish_reason") for c in listed), None)
    if stopped == "error" and (not choices or choices[0].is_empty):
        return {"message": "the model's server failed: the finish reason is error, and there is no answer"}
    return None


def _lack(document: dict[str, Any], choices: tuple[Choice, ...]) -> str | None:
    """What an answer lacks to be one. Reasoning alone was paid for, so it is one."""
    if not choices:
        held = isinstance(document.get("choices"), list) and document["choices"]
        return "the answer's choice has no message" if held else "the answer has no choices"
    first = choices[0]
    if first.content is not None or not first.is_empty or first.reasoning or first.unread:
        return None
    if first.finish_reason in _CUT:
        return None
    return "the message has neither content, nor a refusal, nor tool calls"


def _said(inside: object) -> str:
    try:
        return str(inside)
    except RecursionError:
        return "the server's error is nested too deeply"


def _choices(listed: list[dict[str, Any]]) -> tuple[Choice, ...]:
    """The choices with a message, in the order of `index`; without one the place in the list counts."""
    found = []
    for place, choice in enumerate(listed):
        if (message := _message(choice)) is not None:
            index = choice.get("index")
            found.append(_choice(choice, message, index if is_integer(index) else place))
    if len(found) > 1:
        found.sort(key=lambda choice: choice.index)
    return tuple(found)


def _message(choice: dict[str, Any]) -> dict[str, Any] | None:
    """A choice's message; of the legacy Completions API a `text` alone."""
    message = choice.get("message")
    if message is None and isinstance(choice.get("text"), str):
        return {"content": choice["text"]}
    return message if isinstance(message, dict) else None


def _choice(choice: dict[str, Any], message: dict[str, Any], index: int) -> Choice:
    logprobs, refusal_logprobs = read_logprobs(choice.get("logprobs"))
    return Choice(
        content=read_content(message),
        refusal=read_refusal(message),
        reasoning=read_reasoning(message),
        finish_reason=some_text(choice.get("finish_reason")),
        tool_calls=read_tool_calls(message),
        logprobs=logprobs,
        annotations=tuple(objects(message.get("annotations"))),
        refusal_logprobs=refusal_logprobs,
        audio=read_audio(message),
        token_ids=read_token_ids(choice.get("token_ids")),
        index=index,
        unread=holds_unread(message),
    )
