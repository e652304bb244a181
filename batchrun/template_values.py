"""A row's values as a template may see them: to be read, not to be changed.

minijinja hands lists and mappings on as live Python objects, methods and all. A template that could
`pop` from one would change the row, or the job's vars, for whatever is evaluated next.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Never

INTEGERS = range(-(2**127), 2**128)
"""What minijinja holds as an integer; it would print any other by way of a float."""

_LIST_METHODS = ("append", "clear", "copy", "extend", "insert", "pop", "remove", "reverse", "sort")
_DICT_METHODS = ("clear", "copy", "fromkeys", "pop", "popitem", "setdefault", "update")


def _refuse(name: str) -> Callable[..., Never]:
    def refuse(*_arguments: Any, **_named: Any) -> Never:
        raise AttributeError(f"`{name}` cannot be called: a template reads its values and changes none")

    return refuse


_Values: type[list[Any]] = type(
    "_Values",
    (list,),
    {name: _refuse(name) for name in _LIST_METHODS},
)
_Members: type[dict[str, Any]] = type(
    "_Members",
    (dict,),
    {name: _refuse(name) for name in _DICT_METHODS},
)


def is_nested(value: Any) -> bool:
    """Whether a value holds others, which a template could change."""
    kind = type(value)
    return kind is list or kind is dict


def is_misprinted(value: Any) -> bool:
    """Whether minijinja would print a number by way of a float, which can change it."""
    kind = type(value)
    return kind is Decimal or (kind is int and value not in INTEGERS)


def to_print(value: Any) -> Any:
    """What `to_read` gives, with numbers as text where minijinja would change them."""
    if isinstance(value, list):
        return _Values(map(to_print, value))
    if isinstance(value, dict):
        return _Members({key: to_print(item) for key, item in value.items()})
    return str(value) if is_misprinted(value) else value


def to_read(value: Any) -> Any:
    """The same value, whose lists and mappings cannot be changed."""
    if isinstance(value, list):
        return _Values(map(to_read, value))
    if isinstance(value, dict):
        return _Members({key: to_read(item) for key, item in value.items()})
    return value


def plain(value: Any) -> Any:
    """The lists and dicts that `to_read` was given."""
    if isinstance(value, list):
        return list(map(plain, value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
