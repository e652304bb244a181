"""What OpenAI demands of a JSON Schema that is to be followed strictly. Pure.

Source: OpenAI's guide to structured outputs, "Supported schemas".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchrun.simulator.refusal import Refusal, RefusedError

_UNSUPPORTED = ("allOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else")


def check_strict(schema: Mapping[str, Any], what: str, param: str) -> None:
    """Raises RefusedError, naming the place in the schema; `what` is whose schema it is."""
    for fault in _faults(schema, root=True, path=()):
        message = f"Invalid schema for {what}: {fault}"
        raise RefusedError(Refusal(400, message, param=param, code="invalid_json_schema"))


def _faults(schema: Any, path: tuple[str, ...], *, root: bool = False) -> Iterator[str]:
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
            yield from _faults(member, (*path, keyword, name))
    if "items" in schema:
        yield from _faults(schema["items"], (*path, "items"))
    options = schema.get("anyOf")
    for place, option in enumerate(options if isinstance(options, list) else ()):
        yield from _faults(option, (*path, "anyOf", str(place)))
