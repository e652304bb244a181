"""Refuses what is no JSON Schema, or none that OpenAI follows strictly, before a value is made up. Pure.

Sources: JSON Schema 2020-12, core and validation; OpenAI's guide to structured outputs, "Supported schemas".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from batchrun.simulator.refusal import Refusal, RefusedError

LARGEST = 1000
"""Items, characters and members that the simulator is ready to write because a schema wants them."""

_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")


def check_schema(schema: Any, what: str, param: str) -> None:
    """Raises RefusedError, naming the keyword at fault and its place; `what` is whose schema it is."""
    for path, expected in _faults(schema, ()):
        place = "/".join(("#", *path))
        message = f"Invalid schema for {what}: {place} is not valid: expected {expected}."
        raise RefusedError(Refusal(400, message, param=param, code="invalid_json_schema"))


def _faults(schema: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        yield path, "a schema"
        return
    for keyword, value in schema.items():
        place = (*path, keyword)
        if keyword in _MAPS:
            if not isinstance(value, Mapping):
                yield place, "an object of schemas"
                continue
            for name, member in value.items():
                yield from _faults(member, (*place, name))
        elif keyword in _LISTS:
            if not isinstance(value, list) or not value:
                yield place, "a non-empty array of schemas"
                continue
            for number, member in enumerate(value):
                yield from _faults(member, (*place, str(number)))
        elif keyword in _SCHEMAS:
            yield from _faults(value, place)
        elif keyword in _VALUES and not _VALUES[keyword][0](value):
            yield place, _VALUES[keyword][1]


_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "not", "contains", "if", "then", "else", "propertyNames")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_type(value: Any) -> bool:
    kinds = value if isinstance(value, list) and value else [value]
    return all(isinstance(kind, str) and kind in _TYPES for kind in kinds)


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_step(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_least(value: Any) -> bool:
    return _is_count(value) and value <= LARGEST


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "$ref": (_is_text, "a string"),
    "pattern": (_is_text, "a string"),
    "format": (_is_text, "a string"),
    "type": (_is_type, f"one or more of {', '.join(_TYPES)}"),
    "enum": (_is_list, "a non-empty array"),
    "required": (_are_texts, "an array of strings"),
    "multipleOf": (_is_step, "a number above 0"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (_is_number, "a number")),
    **dict.fromkeys(("maxItems", "maxLength", "maxProperties"), (_is_count, "an integer from 0")),
    **dict.fromkeys(
        ("minItems", "minLength", "minProperties"), (_is_least, f"an integer from 0 to {LARGEST}")
    ),
}


_UNSUPPORTED = ("allOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else")


def check_strict(schema: Mapping[str, Any], what: str, param: str) -> None:
    """Raises RefusedError, naming the place in the schema; `what` is whose schema it is."""
    for fault in _strict_faults(schema, root=True, path=()):
        message = f"Invalid schema for {what}: {fault}"
        raise RefusedError(Refusal(400, message, param=param, code="invalid_json_schema"))


def _strict_faults(schema: Any, path: tuple[str, ...], *, root: bool = False) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    if root and (schema.get("type") != "object" or "anyOf" in schema):
        kind = "anyOf" if "anyOf" in schema else schema.get("type")
        yield f"schema must be a JSON Schema of 'type: \"object\"', got '{kind}'."
    for name in _UNSUPPORTED:
        if name in schema:
            yield f"In context={path}, '{name}' is not permitted."
    kinds = schema.get("type")
    if kinds == "object" or (isinstance(kinds, list) and "object" in kinds) or "properties" in schema:
        yield from _object_faults(schema, path)
    yield from _inner_faults(schema, path)


def _object_faults(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    if schema.get("additionalProperties") is not False:
        yield f"In context={path}, 'additionalProperties' is required to be supplied and to be false."
    properties, required = schema.get("properties"), schema.get("required")
    required = required if isinstance(required, list) else []
    for name in properties if isinstance(properties, Mapping) else ():
        if name not in required:
            yield (
                f"In context={path}, 'required' is required to be supplied and to be an array including "
                f"every key in properties. Missing '{name}'."
            )


def _inner_faults(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    for keyword in ("properties", "$defs", "definitions"):
        members = schema.get(keyword)
        for name, member in members.items() if isinstance(members, Mapping) else ():
            yield from _strict_faults(member, (*path, keyword, name))
    if "items" in schema:
        yield from _strict_faults(schema["items"], (*path, "items"))
    options = schema.get("anyOf")
    for place, option in enumerate(options if isinstance(options, list) else ()):
        yield from _strict_faults(option, (*path, "anyOf", str(place)))
