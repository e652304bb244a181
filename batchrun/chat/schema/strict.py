"""A schema rewritten into the part of JSON Schema that strict structured outputs take.

Source: OpenAI's guide to structured outputs, "Supported schemas": the root is an object and no union;
all objects have `additionalProperties: false` and require every property, so that an optional one is
spelled as nullable; at most 5,000 properties, 10 levels of objects, 1,000 enum values and 120,000
characters of names and values. Keywords outside of it that only narrow (`minLength`, `not`, …) are left
out: the answer is checked against the job's own schema anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchrun.chat.schema.json_schema import (
    DEFINITIONS,
    UnsettledError,
    alternatives,
    is_null,
    pointed,
    settled,
    values_of,
)

MAX_PROPERTIES = 5000
MAX_DEPTH = 10
MAX_ENUM_VALUES = 1000
MAX_CHARACTERS = 120_000

WRAPPED = "value"
"""The member that holds the answer where the schema's root is no object."""

_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_BOUNDS = ("multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def strict_schema(schema: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """The strict form of a plain, valid schema; or None and why it has none.

    A root that is no object (an array, an enum, a union) stands in {"value": …}, as `wrapped` gives it.
    """
    try:
        wrap = is_wrapped(schema)
        root = wrapped(schema) if wrap else schema
        if not wrap:
            root = {**settled(schema, schema)[0], **{key: root[key] for key in DEFINITIONS if key in root}}
        return _Rewriting(root).whole(), None
    except UnsettledError as error:
        return None, str(error)
    except RecursionError:
        return None, "it is nested too deeply"


def strict_fault(schema: Mapping[str, Any]) -> str | None:
    """What strict mode refuses in a plain, valid schema that is sent as it stands; None where nothing."""
    if is_wrapped(schema):
        return "the root: no object"
    _, obstacle = strict_schema(schema)
    return obstacle or next(_loose_objects(schema, "the root"), None)


def _loose_objects(schema: Any, at: str) -> Iterator[str]:
    """Objects that `strict_schema` would have to rewrite, with what they lack."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _loose_objects(branch, at)
    if not isinstance(schema, Mapping):
        return
    if isinstance(properties := schema.get("properties"), Mapping):
        if schema.get("additionalProperties") is not False:
            yield f"{at}: additionalProperties is not false"
        if missing := [name for name in properties if name not in (schema.get("required") or ())]:
            yield f"{at}: required lacks {missing[0]}"
    for members in (properties, *(schema.get(key) for key in DEFINITIONS)):
        for name, member in members.items() if isinstance(members, Mapping) else ():
            yield from _loose_objects(member, name)
    for key in ("items", "anyOf"):
        yield from _loose_objects(schema.get(key), at)


def is_wrapped(schema: Mapping[str, Any]) -> bool:
    """Whether the root of a schema is something else than an object, so that it is asked for in one."""
    try:
        root, _ = settled(schema, schema)
    except UnsettledError:
        return False
    if "enum" in root or "const" in root or alternatives(root) is not None:
        return True
    return bool(root.get("type", "object") != "object")


def wrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An object whose only member, `value`, is `schema`; its references still point where they did."""
    inner = {key: item for key, item in schema.items() if key not in (*DEFINITIONS, "$schema", "$id")}
    document: dict[str, Any] = {key: schema[key] for key in ("$schema",) if key in schema}
    document |= {
        "type": "object",
        "properties": {WRAPPED: inner},
        "required": [WRAPPED],
        "additionalProperties": False,
        **{key: schema[key] for key in DEFINITIONS if key in schema},
    }
    moved: dict[str, Any] = _with_moved_references(document)
    return moved


def _with_moved_references(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_moved_references(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: _moved(item) if key == "$ref" and isinstance(item, str) else _with_moved_references(item)
        for key, item in value.items()
    }


def _moved(reference: str) -> str:
    if reference != "#" and not reference.startswith("#/"):
        return reference
    kept = any(reference.startswith(f"#/{key}/") for key in DEFINITIONS)
    return reference if kept else f"#/properties/{WRAPPED}{reference[1:]}"


class _Rewriting:
    """One schema on its way into strict form: counts against the limits, and definitions still to do."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._properties = self._enum_values = self._characters = 0
        self._definitions: dict[str, Any] = {}
        self._waiting: list[str] = []

    def whole(self) -> dict[str, Any]:
        document = self._schema(self._root, "the root", 1)
        while self._waiting:
            reference = self._waiting.pop()
            name = reference.rpartition("/")[2]
            self._definitions[name] = self._schema(pointed(self._root, reference), name, 1)
        return {**document, "$defs": self._definitions} if self._definitions else document

    def _schema(self, schema: Any, at: str, depth: int, refs: frozenset[str] = frozenset()) -> dict[str, Any]:
        if isinstance(schema, Mapping) and isinstance(reference := schema.get("$ref"), str):
            beside = schema.keys() - {"$ref", "title", "default", *DEFINITIONS}
            if reference in refs or not beside:
                return {"$ref": self._reference(reference, at)}
        schema, refs = settled(schema, self._root, refs)
        found: dict[str, Any] = {key: schema[key] for key in ("title", "description") if key in schema}
        values = values_of(schema)
        branches = schema.get("anyOf") or schema.get("oneOf")
        if values is not None:
            return found | self._values(schema, at)
        if branches:
            return found | self._union(schema, branches, at, depth, refs)
        return found | self._typed(schema, at, depth, refs)

    def _reference(self, reference: str, at: str) -> str:
        if reference in ("#", f"#/properties/{WRAPPED}"):
            return reference
        _, holder, name, *rest = [*reference.split("/"), "", ""]
        if holder not in DEFINITIONS or any(rest) or "~" in name or "%" in name:
            raise UnsettledError(f"{at}: {reference} is a reference to something else than a definition")
        if name not in self._definitions:
            self._definitions[name] = {}
            self._count(characters=len(name))
            self._waiting.append(reference)
        return f"#/$defs/{name}"

    def _values(self, schema: Mapping[str, Any], at: str) -> dict[str, Any]:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        if any(isinstance(value, dict | list) for value in values):
            raise UnsettledError(f"{at}: an enum of objects or lists")
        self._count(enum_values=len(values), characters=sum(len(str(value)) for value in values))
        kinds = list(dict.fromkeys(_KINDS[type(value)] for value in values))
        spelled = {"enum": values} if "enum" in schema else {"const": schema["const"]}
        return {"type": kinds[0] if len(kinds) == 1 else kinds, **spelled}

    def _union(
        self, schema: Mapping[str, Any], branches: list[Any], at: str, depth: int, refs: frozenset[str]
    ) -> dict[str, Any]:
        if "properties" in schema or "items" in schema or ("anyOf" in schema and "oneOf" in schema):
            raise UnsettledError(f"{at}: a union beside other members")
        if at == "the root":
            raise UnsettledError("a union at the root")
        return {"anyOf": [self._schema(branch, at, depth, refs) for branch in branches]}

    def _typed(self, schema: Mapping[str, Any], at: str, depth: int, refs: frozenset[str]) -> dict[str, Any]:
        kind = schema.get("type") or ("object" if "properties" in schema else None)
        kind = kind or ("array" if "items" in schema else None)
        if kind is None:
            raise UnsettledError(f"{at}: a value of any kind")
        kinds = kind if isinstance(kind, list) else [kind]
        found: dict[str, Any] = {"type": kind}
        if "object" in kinds:
            found |= self._object(schema, at, depth, refs)
        if "array" in kinds:
            found |= self._array(schema, at, depth, refs)
        if "string" in kinds:
            found |= {key: schema[key] for key in ("pattern",) if key in schema}
            found |= {"format": schema["format"]} if schema.get("format") in _FORMATS else {}
        if "number" in kinds or "integer" in kinds:
            found |= {key: schema[key] for key in _BOUNDS if type(schema.get(key)) in (int, float)}
        return found

    def _object(self, schema: Mapping[str, Any], at: str, depth: int, refs: frozenset[str]) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        extra = schema.get("additionalProperties", not properties)
        if extra is not False or schema.get("patternProperties"):
            raise UnsettledError(f"{at}: an object with free keys")
        if depth > MAX_DEPTH:
            raise UnsettledError(f"{at}: more than {MAX_DEPTH} levels of objects")
        self._count(properties=len(properties), characters=sum(map(len, properties)))
        required = schema.get("required") or ()
        members = {}
        for name, member in properties.items():
            written = self._schema(member, name, depth + 1, refs)
            members[name] = written if name in required else self._nullable(written)
        return {"properties": members, "required": list(properties), "additionalProperties": False}

    def _array(self, schema: Mapping[str, Any], at: str, depth: int, refs: frozenset[str]) -> dict[str, Any]:
        items = schema.get("items")
        if "prefixItems" in schema or isinstance(items, list):
            raise UnsettledError(f"{at}: a list with a schema for each position")
        bounds = {key: schema[key] for key in ("minItems", "maxItems") if key in schema}
        return {"items": self._schema({} if items is None else items, at, depth, refs), **bounds}

    @staticmethod
    def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in schema or "const" in schema:
            return {"anyOf": [schema, {"type": "null"}]}
        if "anyOf" in schema:
            absent = [] if any(map(is_null, schema["anyOf"])) else [{"type": "null"}]
            return {**schema, "anyOf": [*schema["anyOf"], *absent]}
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        nullable = {**schema, "type": list(dict.fromkeys([*kinds, "null"]))}
        if "enum" in schema and None not in schema["enum"]:
            nullable["enum"] = [*schema["enum"], None]
        return nullable

    def _count(self, *, properties: int = 0, enum_values: int = 0, characters: int = 0) -> None:
        self._properties += properties
        self._enum_values += enum_values
        self._characters += characters
        for count, most, what in (
            (self._properties, MAX_PROPERTIES, "properties"),
            (self._enum_values, MAX_ENUM_VALUES, "enum values"),
            (self._characters, MAX_CHARACTERS, "characters of names and values"),
        ):
            if count > most:
                raise UnsettledError(f"more than {most:,} {what}")


_KINDS = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}
