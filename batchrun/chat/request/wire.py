"""A request in the words of an endpoint that knows only one of two names.

`max_tokens` became `max_completion_tokens`, and the role `system` became `developer` (OpenAI's API
reference); many servers know only the older names.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

TokenLimit: TypeAlias = Literal["max_tokens", "max_completion_tokens"]
Instructions: TypeAlias = Literal["system", "developer"]

_OTHER: dict[str, str] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
    "system": "developer",
    "developer": "system",
}


def translated(
    document: dict[str, Any], *, token_limit: TokenLimit | None, instructions: Instructions | None
) -> dict[str, Any]:
    """The request's body with the one name each that the endpoint knows; None for one that knows both.

    Order is kept. Where a body gives both names of the limit, the known one stays. The same
    object comes back when nothing changes, and the given one is never changed.
    """
    if token_limit is not None and _OTHER[token_limit] in document:
        document = _renamed(document, _OTHER[token_limit], token_limit)
    messages = document.get("messages")
    if instructions is not None and isinstance(messages, list):
        other = _OTHER[instructions]
        if any(_role(message) == other for message in messages):
            spoken = [
                {**message, "role": instructions} if _role(message) == other else message
                for message in messages
            ]
            return {**document, "messages": spoken}
    return document


def _renamed(document: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    if document.get(new) is not None:
        return {name: value for name, value in document.items() if name != old}
    rest = {name: value for name, value in document.items() if name != new}
    return {new if name == old else name: value for name, value in rest.items()}


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None
