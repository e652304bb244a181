"""Checks of single members of a request, which refuse a wrong one in the words of OpenAI's API. Pure.

Each takes the value and the name to call it by, and takes null for a member that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchrun.simulator.refusal import Refusal, RefusedError


def wrong(param: str, expected: str) -> RefusedError:
    """The member `param` has a wrong value."""
    message = f"Invalid value for '{param}': {expected}."
    return RefusedError(Refusal(400, message, param=param, code="invalid_value"))


def missing(param: str) -> RefusedError:
    """The member `param` is not there."""
    message = f"Missing required parameter: '{param}'."
    return RefusedError(Refusal(400, message, param=param, code="missing_required_parameter"))


def boolean(value: Any, param: str) -> bool:
    """`value` as a boolean; null is false."""
    if value is not None and not isinstance(value, bool):
        raise wrong(param, "expected a boolean")
    return value is True


def integer(value: Any, param: str, low: int, high: int | None = None) -> int | None:
    """An integer from `low` to `high`."""
    if value is not None and (type(value) is not int or value < low or (high is not None and value > high)):
        raise wrong(param, f"expected an integer from {low}{'' if high is None else f' to {high}'}")
    return value


def number(value: Any, param: str, low: float, high: float) -> float | None:
    """A number from `low` to `high`; no boolean."""
    if value is not None and (type(value) not in (int, float) or not low <= value <= high):
        raise wrong(param, f"expected a number from {low:g} to {high:g}")
    return None if value is None else float(value)


def mapping(value: Any, param: str) -> Mapping[str, Any]:
    """An object; null is an empty one."""
    if value is not None and not isinstance(value, dict):
        raise wrong(param, "expected an object")
    return value or {}


def pairs(value: Any, param: str) -> Mapping[str, str]:
    """Metadata: at most 16 pairs of texts of at most 64 and 512 characters."""
    found = mapping(value, param)
    if len(found) > 16:
        raise wrong(param, "expected an object with at most 16 properties")
    for name, member in found.items():
        if len(name) > 64:
            raise wrong(f"{param}.{name[:20]}…", "expected a key of at most 64 characters")
        if member is None:
            raise wrong(f"{param}.{name}", "expected a string, got null")
        text(member, f"{param}.{name}", 512)
    return found


def text(value: Any, param: str, longest: int | None = None) -> str | None:
    """A string of at most `longest` characters."""
    if value is not None and not isinstance(value, str):
        raise wrong(param, "expected a string")
    if value is not None and longest is not None and len(value) > longest:
        raise wrong(param, f"expected a string of at most {longest} characters")
    return value


def needed_text(value: Any, param: str) -> str:
    """A string that must be there."""
    found = text(value, param)
    if found is None:
        raise missing(param)
    return found


def one_of(value: Any, param: str, allowed: Sequence[str]) -> str | None:
    """One of a few words."""
    if value is not None and (not isinstance(value, str) or value not in allowed):
        raise wrong(param, f"expected one of {', '.join(allowed)}")
    return value


def array(value: Any, param: str, kind: type = object) -> list[Any]:
    """An array of `kind`; null is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        of = "" if kind is object else f" of {_NAMES.get(kind, kind.__name__)}"
        raise wrong(param, f"expected an array{of}")
    return value


_NAMES: dict[type, str] = {str: "strings", int: "integers", dict: "objects"}
