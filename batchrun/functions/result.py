"""What a function gives, as text for the model: the same text for equal values."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic_core import to_json, to_jsonable_python

from batchrun import codec

MAX_RESULT = 100_000
"""Characters of a result that are sent: all of it is sent, and paid for, again with each further turn."""

_MAX_ERROR = 500
"""Characters of an error."""

ERROR = "Error: "
"""What begins the text of an error."""


def as_text(value: Any) -> str:
    """Text as it is, anything else as JSON: dataclasses, models, dates, decimals, sets (sorted) too.

    NaN and the infinities become null. What is longer than MAX_RESULT is cut, with a note that says so.
    Raises PydanticSerializationError for a value without a JSON form.
    """
    if isinstance(value, str):
        text = str.__str__(value)  # of an Enum, its value
    else:
        text = to_json(ordered(value), inf_nan_mode="null").decode()
    text = codec.scrubbed(text)
    if len(text) <= MAX_RESULT:
        return text
    return f"{text[:MAX_RESULT]}… (cut here: {len(text) - MAX_RESULT:,} more characters)"


def as_error(reason: str) -> str:
    """An error on one line."""
    line = codec.scrubbed(f"{ERROR}{' '.join(reason.split())}")
    return line if len(line) <= _MAX_ERROR else f"{line[: _MAX_ERROR - 1]}…"


def ordered(value: Any) -> Any:
    """The value with its sets as sorted lists: the order of a set's texts changes from process to process."""
    if isinstance(value, set | frozenset):
        return sorted(map(ordered, value), key=lambda item: to_json(item, inf_nan_mode="null"))
    if isinstance(value, dict):
        return {key: ordered(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [ordered(item) for item in value]
    if serializer := getattr(type(value), "__pydantic_serializer__", None):
        members = serializer.to_python(value)
        return ordered(members) if _holds_set(members) else to_jsonable_python(value, inf_nan_mode="null")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: ordered(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return value


def _holds_set(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_set, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_set, value))
    return isinstance(value, set | frozenset)
