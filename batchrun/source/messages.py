"""A column that holds a row's own message list, as the list the API takes."""

from __future__ import annotations

from typing import Any

from batchrun.codec import loads
from batchrun.source.jsonl import MAX_DEPTH, deeper


def message_list(value: Any) -> list[Any] | None:
    """The messages that a cell holds: a list, or JSON text of one; None for a null.

    Parquet gives every struct all members, null where a message has none. Members that are null are
    left out at every depth, except a message's `content`, for which the API reads null (OpenAI:
    ChatCompletionAssistantMessageParam). So are structs of which only nulls were left.

    Raises ValueError, with the reason, when the value is no list, or nested too deeply.
    """
    if isinstance(value, str):
        value = _read(value)
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError(f"is {type(value).__name__}, not a list of messages")
    if deeper(value, MAX_DEPTH):
        raise ValueError(f"is nested too deeply (more than {MAX_DEPTH} levels)")
    return [_message(item) for item in value]


def _read(text: str) -> Any:
    try:
        return loads(text.encode())
    except ValueError as error:
        raise ValueError(f"is a text that is no JSON list of messages: {error}") from error


def _message(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {name: _without_nulls(item) for name, item in value.items() if not _is_nothing(item)}
    if "content" in value and "content" not in kept:
        return {name: kept.get(name) for name in value if name in kept or name == "content"}
    return kept


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if not _is_nothing(item)}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _is_nothing(value: Any) -> bool:
    """Null, or a struct whose members are all nothing, as some writers store a null struct."""
    return value is None or (
        isinstance(value, dict) and bool(value) and all(map(_is_nothing, value.values()))
    )
