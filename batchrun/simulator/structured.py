"""A JSON value that a simple JSON Schema accepts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from batchrun.simulator.draws import numbers
from batchrun.simulator.vocabulary import SENTENCES, WORDS

DEEPEST = 12
"""Levels after which a schema that refers to itself gets null."""

PLAIN_OBJECT: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "category": {"enum": ["billing", "delivery", "technical", "account", "feedback"]},
        "priority": {"enum": ["low", "normal", "high"]},
        "summary": {"type": "string"},
    },
}
"""What `json_object`, which names no schema, is answered with."""


def value(schema: Any, root: Mapping[str, Any], *draw: object) -> Any:
    """A value for `schema`, the same for the same `draw`; references are looked up in `root`.

    Keywords that restrict further (pattern, format, if, not …) are not heeded.
    """
    if not isinstance(schema, Mapping) or len(draw) > DEEPEST:
        return None
    chance = numbers(2, "json", *draw)
    if "const" in schema:
        return schema["const"]
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[chance[0] % len(choices)]
    if isinstance(reference := schema.get("$ref"), str):
        return value(_resolve(reference, root), root, *draw, "$ref")
    for keyword in ("anyOf", "oneOf", "allOf"):
        if isinstance(choices := schema.get(keyword), list) and choices:
            return value(choices[0], root, *draw, keyword)
    return _typed(schema, root, chance, draw)


def _typed(
    schema: Mapping[str, Any], root: Mapping[str, Any], chance: list[int], draw: tuple[object, ...]
) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            properties = schema.get("properties")
            members = properties.items() if isinstance(properties, Mapping) else ()
            return {name: value(member, root, *draw, name) for name, member in members}
        case "array":
            count = _clamp(1 + chance[0] % 2, schema.get("minItems"), schema.get("maxItems"))
            return [value(schema.get("items", {}), root, *draw, index) for index in range(int(count))]
        case "integer":
            return _whole(chance[0] % 10, schema)
        case "number":
            return _clamp(round(chance[0] / 65536, 3), schema.get("minimum"), schema.get("maximum"))
        case "boolean":
            return chance[0] % 2 == 0
        case "string":
            return _string(schema, chance)
    return None


def _string(schema: Mapping[str, Any], chance: list[int]) -> str:
    longest = schema.get("maxLength")
    if isinstance(longest, int) and longest < 80:
        return WORDS[chance[0] % len(WORDS)][:longest]
    return SENTENCES[chance[0] % 2][chance[1] % 8]


def _clamp(number: float, low: Any, high: Any) -> float:
    if isinstance(high, int | float):
        number = min(number, high)
    return max(number, low) if isinstance(low, int | float) else number


def _whole(number: int, schema: Mapping[str, Any]) -> int:
    low, high = schema.get("minimum"), schema.get("maximum")
    low = math.ceil(low) if isinstance(low, float) else low
    return math.floor(_clamp(number, low, high))


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    """Follow a reference inside the document, such as `#/$defs/Label`."""
    found: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found
