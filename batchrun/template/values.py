"""A row's values as a template may see them: to be read, not to be changed.

minijinja hands lists and mappings on as live Python objects, methods and all. A template that could
`pop` from one would change the row, or the job's vars, for whatever is evaluated next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Never

_LEAST, _MOST = -(2**127), 2**128 - 1
"""What minijinja holds as an integer; it would print any other, and a Decimal, by way of a float."""

_AS_THEY_ARE = frozenset({str, float, bool, type(None), bytes})
"""Types of values that a template may have as they stand."""

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


def seen(
    context: Mapping[str, Any], named: frozenset[str] | None, to_see: Callable[[Any], Any]
) -> dict[str, Any]:
    """The values that a template may read: those that are `named` (all, where it is None), as `to_see`
    gives them (`to_print` or `to_read`)."""
    return {
        name: value if type(value) in _AS_THEY_ARE else to_see(value)
        for name, value in context.items()
        if named is None or name in named
    }


def to_print(value: Any) -> Any:
    """What `to_read` gives, with numbers as text where minijinja would change them."""
    if type(value) is int:
        return value if _LEAST <= value <= _MOST else str(value)
    if isinstance(value, list):
        return _Values([item if type(item) in _AS_THEY_ARE else to_print(item) for item in value])
    if isinstance(value, dict):
        return _Members(
            {key: item if type(item) in _AS_THEY_ARE else to_print(item) for key, item in value.items()}
        )
    return str(value) if type(value) is Decimal else value


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
