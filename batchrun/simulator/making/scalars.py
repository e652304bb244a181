"""Numbers and strings that a JSON Schema accepts. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from batchrun.simulator.making import patterns
from batchrun.simulator.making.draws import numbers
from batchrun.simulator.making.vocabulary import SENTENCES, WORDS


def integer(schema: Mapping[str, Any], wanted: int) -> int:
    """The integer nearest to `wanted` within the bounds, on the grid of `multipleOf`."""
    low, high = _bounds(schema)
    step = schema.get("multipleOf")
    grid = step if isinstance(step, int) and step > 0 else 1
    found = grid * (wanted // grid) if grid > 1 else wanted
    if _is_number(high) and found > high:
        found = grid * math.floor(high / grid)
    if _is_number(low) and found < low:
        found = grid * math.ceil(low / grid) if isinstance(low, float) or grid > 1 else int(low)
    return found


def number(schema: Mapping[str, Any], wanted: float) -> float:
    """The number nearest to `wanted` within the bounds, on the grid of `multipleOf`."""
    low, high = _bounds(schema)
    found = clamp(wanted, low, high)
    step = schema.get("multipleOf")
    if _is_number(step) and step > 0:
        found = round(math.ceil(found / step) * step, 9)
    return found


def _bounds(schema: Mapping[str, Any]) -> tuple[Any, Any]:
    """The least and the largest number, where exclusive bounds are moved by the smallest step."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    whole = schema.get("type") == "integer"
    if _is_number(above):
        edge = math.floor(above) + 1 if whole else math.nextafter(above, math.inf)
        low = max(low, edge) if _is_number(low) else edge
    if _is_number(below):
        edge = math.ceil(below) - 1 if whole else math.nextafter(below, -math.inf)
        high = min(high, edge) if _is_number(high) else edge
    return low, high


def clamp(value: float, low: Any, high: Any) -> float:
    """`value`, or the bound that it is beyond; a bound that is no number is none."""
    if _is_number(high):
        value = min(value, high)
    return max(value, low) if _is_number(low) else value


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def string(schema: Mapping[str, Any], chance: list[int], *draw: object) -> str:
    """A string of the format, the pattern and the length asked for, as far as they are understood."""
    if isinstance(pattern := schema.get("pattern"), str):
        try:
            return patterns.sample(pattern, *draw)
        except ValueError:
            pass  # not a simple one: any text
    form = schema.get("format")
    if isinstance(form, str) and form in _FORMATS:
        return _format(form, *draw)
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    if isinstance(longest, int) and longest < 80:
        found = WORDS[chance[0] % len(WORDS)][:longest]
    else:
        found = SENTENCES[chance[0] % 2][chance[1] % 8]
    if isinstance(shortest, int) and len(found) < shortest:
        found = (found + " ") * (shortest // (len(found) + 1) + 1)
        found = found[: shortest - 1].ljust(shortest, "x")
    return found


_FORMATS: dict[str, str] = {
    "date": "20{0:02}-{1:02}-{2:02}",
    "time": "{3:02}:{4:02}:{5:02}Z",
    "date-time": "20{0:02}-{1:02}-{2:02}T{3:02}:{4:02}:{5:02}Z",
    "duration": "PT{3}H{4}M",
    "email": "{word}{0}@example.com",
    "hostname": "{word}.example.com",
    "uri": "https://example.com/{word}/{0}",
    "ipv4": "192.0.2.{0}",
    "ipv6": "2001:db8::{0}",
    "uuid": "{6:08x}-{7:04x}-4{8:03x}-8{9:03x}-{10:012x}",
}
"""Texts of the formats that JSON Schema names, from numbers; addresses are those kept for examples."""


def _format(form: str, *draw: object) -> str:
    drawn = numbers(11, form, *draw)
    sizes = (30, 12, 28, 24, 60, 60, 65536, 65536, 4096, 4096, 65536)
    first = [one % size for one, size in zip(drawn, sizes, strict=True)]
    first[1] += 1
    first[2] += 1
    return _FORMATS[form].format(*first, word=WORDS[drawn[0] % len(WORDS)])
