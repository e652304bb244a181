"""What a schema says of members that an answer leaves out: pydantic's defaults, say.

In strict form a model must write every member, and writes null for those it leaves out. Taken out again,
they have the schema's `default`, as they would where the schema's own model reads the answer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from batchrun.chat.schema.json_schema import UnsettledError, settled

Fill: TypeAlias = Callable[[Any], Any]


def filler(schema: Mapping[str, Any]) -> Fill | None:
    """What puts the defaults of a plain schema into a value that fits it; None where it has none.

    Members of unions, and of schemas that contain themselves, stay as they are.
    """
    return _fill(schema, schema, frozenset())


def _fill(schema: Any, root: Mapping[str, Any], refs: frozenset[str]) -> Fill | None:
    try:
        schema, refs = settled(schema, root, refs)
    except UnsettledError:
        return None
    if isinstance(schema.get("properties"), Mapping):
        return _object(schema["properties"], root, refs)
    if isinstance(schema.get("items"), Mapping):
        return _list(schema["items"], root, refs)
    return None


def _object(properties: Mapping[str, Any], root: Mapping[str, Any], refs: frozenset[str]) -> Fill | None:
    within = {name: fill for name, inner in properties.items() if (fill := _fill(inner, root, refs))}
    defaults = {
        name: inner["default"]
        for name, inner in properties.items()
        if isinstance(inner, Mapping) and "default" in inner
    }
    if not within and not defaults:
        return None

    def filled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        own = {name: within[name](item) if name in within else item for name, item in value.items()}
        return own | {name: copy.deepcopy(given) for name, given in defaults.items() if name not in value}

    return filled


def _list(items: Mapping[str, Any], root: Mapping[str, Any], refs: frozenset[str]) -> Fill | None:
    fill = _fill(items, root, refs)
    if fill is None:
        return None
    return lambda value: [fill(item) for item in value] if isinstance(value, list) else value
