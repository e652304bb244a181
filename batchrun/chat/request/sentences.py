"""pydantic's findings about a request, as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLAIN = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
}
"""pydantic's types of errors that need nothing but a sentence."""

_NAME_PATTERN = "^[A-Za-z0-9_-]{1,64}$"


def expected(kind: str, ctx: Mapping[str, Any], otherwise: str) -> str:
    """What a value had to be, by the type and the context of pydantic's error; else its own words."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == "value_error":
        return str(ctx["error"])
    if kind == "literal_error":
        return f"must be one of {', '.join(allowed(ctx))}"
    if kind in ("greater_than_equal", "less_than_equal", "greater_than"):
        return _bound(kind, ctx)
    if kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        return _length(kind, ctx)
    if kind == "string_pattern_mismatch" and ctx["pattern"] == _NAME_PATTERN:
        return "must be made of letters, digits, underscores and dashes, at most 64"
    return otherwise


def _bound(kind: str, ctx: Mapping[str, Any]) -> str:
    word, limit = {
        "greater_than_equal": ("at least", "ge"),
        "less_than_equal": ("at most", "le"),
        "greater_than": ("above", "gt"),
    }[kind]
    bound = ctx[limit]
    return f"must be {word} {int(bound) if bound == int(bound) else bound}"


def _length(kind: str, ctx: Mapping[str, Any]) -> str:
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "string_too_long":
        return f"must have at most {ctx['max_length']} characters"
    if kind == "too_short":
        return "must have at least one item"
    return f"must have at most {ctx['max_length']} items"


def counted(kind: str, value: Any) -> str | None:
    """How many items or characters there are, of a value that has too many; None for any other error."""
    return str(len(value)) if kind in ("too_long", "string_too_long") else None


def is_key(loc: tuple[str | int, ...], value: Any) -> bool:
    """Whether an error at `loc` is about a key itself, `value`: pydantic adds a last part to its loc."""
    return loc[-1:] == ("[key]",) and loc[-2:-1] == (value,)


def allowed(ctx: Mapping[str, Any]) -> list[str]:
    """The words that a literal error, or an unknown kind, allows."""
    if "allowed" in ctx:
        return list(ctx["allowed"])
    return str(ctx["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
