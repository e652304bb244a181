"""Members of an answer read as what they should be: what is of another type counts as not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from batchrun import codec


def text(value: Any) -> str | None:
    """The value as text: another value than a string as JSON, None where it is null."""
    if value is None or isinstance(value, str):
        return value
    try:
        return codec.dumps(value).decode()
    except ValueError:  # what is nested so deeply is nobody's text
        return None


def some_text(value: Any) -> str | None:
    """As `text`; None also where there is nothing in it: servers write "", [] and {} for absence."""
    if value is None or type(value) is str:  # the usual cases
        return value or None
    return None if value in ([], {}) else text(value)


def integer(value: Any) -> int | None:
    """The value as an integer of 64 bits; one that is spelled as a float loses its fraction."""
    if value is None or (type(value) is int and -(2**63) <= value < 2**63):
        return value  # the usual cases, asked for many times in every answer
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value == value and abs(value) < 2**63 else None


def number(value: Any) -> float | None:
    """The value as a float, NaN and the infinities among them."""
    if isinstance(value, float):
        return value
    return float(value) if is_integer(value) else None


def is_integer(value: Any) -> TypeGuard[int]:
    """Whether it is an integer of 64 bits."""
    return type(value) is int and -(2**63) <= value < 2**63


def members(value: Any) -> dict[str, Any]:
    """The object, or one without members."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def first_text(holder: Mapping[str, Any], *names: str) -> str | None:
    """The first of these members that says something."""
    for name in names:
        if name in holder and (found := some_text(holder[name])) is not None:
            return found
    return None
