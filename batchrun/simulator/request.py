"""Reads the body of a chat completion request, and refuses what OpenAI would refuse."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchrun.codec import canonical, digest, loads
from batchrun.simulator.refusal import Refusal, RefusedError

NOT_HASHED = ("stream", "stream_options", "user", "metadata", "store")
"""Members that do not change the answer."""

ROLES = ("developer", "system", "user", "assistant", "tool", "function")
_TOKEN = re.compile(r" ?\w+| ?[^\w\s]|\s+")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that is fit to be answered."""

    key: str
    """Digest of the members that decide the answer."""
    model: str
    question: str
    """Text of the last user message."""
    prompt_tokens: int
    prompt_bytes: int
    max_tokens: int | None
    n: int
    stop: tuple[str, ...]
    top_logprobs: int | None
    """None when no logprobs are asked for."""
    response_format: Mapping[str, Any]
    stream: bool
    include_usage: bool

    @property
    def estimate(self) -> int:
        """Tokens as a rate limit counts them on arrival: bytes / 4, and the most that may be written."""
        return math.ceil(self.prompt_bytes / 4) + (self.max_tokens or 0) * self.n


def tokens(text: str) -> list[str]:
    """Cut `text` into words, marks and spaces; joined, they are the text again."""
    return _TOKEN.findall(text)


def parse(body: bytes) -> dict[str, Any]:
    """Read the body as a JSON object. Raises RefusedError."""
    try:
        members = loads(body)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        message = "We could not parse the JSON body of your request. It must be a JSON object."
        raise RefusedError(Refusal(400, message))
    return members


def key_of(members: Mapping[str, Any]) -> str:
    """Digest of the members that decide the answer."""
    return digest(canonical({name: value for name, value in members.items() if name not in NOT_HASHED}))


def read(members: Mapping[str, Any], key: str) -> ChatRequest:
    """Check a parsed body; `key` is its key_of(). Raises RefusedError, naming the member at fault."""
    if not isinstance(model := members.get("model"), str) or not model:
        raise RefusedError(Refusal(400, "you must provide a model parameter", param="model"))
    texts = _message_texts(members.get("messages"))
    prompt = "".join(text for _, text in texts)
    stream = _boolean(members, "stream")
    _number(members, "temperature", 0, 2)
    return ChatRequest(
        key=key,
        model=model,
        question=next((text for role, text in reversed(texts) if role == "user"), ""),
        prompt_tokens=len(tokens(prompt)),
        prompt_bytes=len(prompt.encode("utf-8", "surrogatepass")),
        max_tokens=_integer(members, "max_completion_tokens", 1) or _integer(members, "max_tokens", 1),
        n=_integer(members, "n", 1, 128) or 1,
        stop=_stop(members.get("stop")),
        top_logprobs=_logprobs(members),
        response_format=_mapping(members, "response_format"),
        stream=stream,
        include_usage=stream and _mapping(members, "stream_options").get("include_usage") is True,
    )


def question_of(members: Mapping[str, Any]) -> str:
    """Text of the last user message, of a body that need not be right; empty where there is none."""
    messages = members.get("messages")
    for message in reversed(messages) if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            return _text(message.get("content")) or ""
    return ""


def _message_texts(messages: Any) -> list[tuple[str, str]]:
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", "expected a non-empty array of objects")
    return [_role_and_text(message, index) for index, message in enumerate(messages)]


def _role_and_text(message: Any, index: int) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise _wrong(f"messages[{index}]", "expected an object")
    if (role := message.get("role")) not in ROLES:
        raise _wrong(f"messages[{index}].role", f"expected one of {', '.join(ROLES)}")
    if (text := _text(message.get("content"))) is None:
        raise _wrong(f"messages[{index}].content", "expected a string or an array of content parts")
    return role, text


def _text(content: Any) -> str | None:
    """The text of a message's content; None where the content is of a wrong kind."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(text for text in parts if isinstance(text, str))
    return "" if content is None else None


def _stop(stop: Any) -> tuple[str, ...]:
    found = [stop] if isinstance(stop, str) else [] if stop is None else stop
    if not isinstance(found, list) or len(found) > 4 or not all(isinstance(s, str) and s for s in found):
        raise _wrong("stop", "expected a string or an array of at most 4 strings, none empty")
    return tuple(found)


def _logprobs(members: Mapping[str, Any]) -> int | None:
    wanted = _boolean(members, "logprobs")
    top = _integer(members, "top_logprobs", 0, 20)
    if top is not None and not wanted:
        raise _wrong("top_logprobs", "needs logprobs to be true")
    return (top or 0) if wanted else None


def _boolean(members: Mapping[str, Any], name: str) -> bool:
    value = members.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, "expected a boolean")
    return value is True


def _integer(members: Mapping[str, Any], name: str, low: int, high: int | None = None) -> int | None:
    value = members.get(name)
    if value is not None and (type(value) is not int or value < low or (high is not None and value > high)):
        raise _wrong(name, f"expected an integer from {low}{'' if high is None else f' to {high}'}")
    return value


def _number(members: Mapping[str, Any], name: str, low: float, high: float) -> None:
    value = members.get(name)
    if value is not None and (type(value) not in (int, float) or not low <= value <= high):
        raise _wrong(name, f"expected a number from {low:g} to {high:g}")


def _mapping(members: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = members.get(name)
    if value is not None and not isinstance(value, dict):
        raise _wrong(name, "expected an object")
    return value or {}


def _wrong(param: str, expected: str) -> RefusedError:
    message = f"Invalid value for '{param}': {expected}."
    return RefusedError(Refusal(400, message, param=param, code="invalid_value"))
