"""JSON Schema: checked once, its references followed inside the document, nothing ever fetched.

Drafts 4 to 2020-12 by `$schema`, 2020-12 without one. `format` is not asserted: in 2020-12 it is an
annotation by default, and a date in another spelling should not cost a second answer; where an
endpoint enforces the schema while decoding, it heeds the format anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from batchrun import codec

MOST_PARTS = 100_000
"""Subschemas, with references followed: columns, defaults and strict forms are made of all of them."""

MASK = "\x00"
"""Stands for the value in the messages of a validator."""

DEFINITIONS = ("$defs", "definitions")
"""Where subschemas are kept that only references use: since draft 2019-09, and before."""

_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
    | {"$comment", "$schema", "$id", "$anchor", *DEFINITIONS}
)

if TYPE_CHECKING:
    import jsonschema_rs


class SchemaError(ValueError):
    """A schema that cannot be used; the message is `reason`, after the place in it where that is known.

    Attributes:
        path: the way to what is wrong from the schema's top; () where that is all of it, or not known.
    """

    def __init__(self, reason: str, path: tuple[str | int, ...] | None = None) -> None:
        super().__init__(reason if path is None else f"{dotted(path)}: {reason}")
        self.reason = reason
        self.path = path or ()


class UnsettledError(ValueError):
    """A schema whose references or `allOf` cannot be folded into one mapping; the message is why."""


def plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `schema` in plain dicts and lists. Raises SchemaError for what JSON cannot spell."""
    try:
        copy: dict[str, Any] = codec.loads(codec.dumps(dict(schema)))
    except (TypeError, ValueError) as error:
        raise SchemaError(f"not a JSON Schema: {error}") from error
    return copy


def compiled(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """The validator of a plain schema. Raises SchemaError when it is none, or refers outside itself."""
    import jsonschema_rs  # 9 MB and 30 ms: only for jobs with a schema or tools

    try:
        validator = jsonschema_rs.validator_for(schema, offline=True, validate_formats=False, mask=MASK)
    except jsonschema_rs.ValidationError as error:
        raise _wrong(schema, error) from error
    except ValueError as error:
        for path in _without_utf8(schema, ()):
            raise SchemaError("a lone surrogate, which is no character: take it out", path) from error
        raise SchemaError(f"the schema is nested too deeply: {error}") from error
    try:
        parts = _parts(schema, schema, {})
    except RecursionError as error:
        raise SchemaError("the schema's references lead too deep") from error
    if parts > MOST_PARTS:
        raise SchemaError(f"it has more than {MOST_PARTS:,} parts when its references are followed")
    return validator


def _without_utf8(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """The places of texts that UTF-8 cannot carry; a key's is the mapping that holds it."""
    if isinstance(value, str) and not codec.encodable(value):
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if isinstance(key, str) and not codec.encodable(key):
            yield path
        else:
            yield from _without_utf8(item, (*path, key))


def _parts(value: Any, root: Mapping[str, Any], known: dict[str, int]) -> int:
    """How many mappings `value` holds, those that it refers to included; `known` by reference.

    A reference that is being followed (a schema that contains itself) counts once.
    """
    if isinstance(value, list):
        return sum(_parts(item, root, known) for item in value)
    if not isinstance(value, dict):
        return 0
    count = 1
    for key, item in value.items():
        if key == "$ref" and isinstance(item, str):
            if item not in known:
                known[item] = 1
                known[item] = _parts(pointed(root, item), root, known)
            count += known[item]
        elif key not in DEFINITIONS:
            count += _parts(item, root, known)
    return count


def _wrong(schema: dict[str, Any], error: jsonschema_rs.ValidationError) -> SchemaError:
    """What is wrong with a schema, and where."""
    if error.kind.name == "$ref":
        for path, reference in _references(schema, ()):
            if not reference.startswith("#"):
                return SchemaError(f"{reference!r} is in another document: copy it into $defs", path)
            if pointed(schema, reference) is None and reference[1:2] in ("", "/"):
                return SchemaError(f"{reference!r} points to nothing in the schema", path)
        return SchemaError(error.message)
    path = tuple(error.instance_path)
    if path[-1:] == ("type",):
        types = "object, array, string, integer, number, boolean, null"
        return SchemaError(f"{error.instance!r} is no type; the types are {types}", path)
    return SchemaError(error.message.replace(MASK, str(error.instance)[:80]), path)


def dotted(path: tuple[str | int, ...]) -> str:
    """A place in a schema as messages name it: `properties.price.type`."""
    return ".".join(map(str, path)) or "the schema"


def _references(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if key == "$ref" and isinstance(item, str):
            yield (*path, key), item
        else:
            yield from _references(item, (*path, key))


def pointed(root: Mapping[str, Any], reference: str) -> Any | None:
    """What a reference such as `#/$defs/Label` (RFC 6901) points to in `root`; None for any other kind."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    found: Any = root
    for part in unquote(reference).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and key.isascii() and key.isdigit():
            found = found[int(key)] if int(key) < len(found) else None
        else:
            found = found.get(key) if isinstance(found, Mapping) else None
    return found


def settled(
    schema: Any, root: Mapping[str, Any], refs: frozenset[str] = frozenset()
) -> tuple[Mapping[str, Any], frozenset[str]]:
    """`schema` with `$ref` followed and `allOf` merged at its top, and `refs` with those followed.

    What stands beside a `$ref` or an `allOf` is laid over it. Raises UnsettledError when a reference
    in `refs` is met again (the schema contains itself), leads nowhere, or parts contradict each other.
    """
    if not isinstance(schema, Mapping):
        return ({}, refs) if schema is True else ({"not": {}}, refs)
    own = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
    parts = list(schema.get("allOf") or ())
    if isinstance(reference := schema.get("$ref"), str):
        if reference in refs:
            raise UnsettledError("a schema that contains itself")
        if (target := pointed(root, reference)) is None:
            raise UnsettledError(f"the reference {reference}")
        refs = refs | {reference}
        parts.insert(0, target)
    for part in parts:
        folded, refs = settled(part, root, refs)
        own = _merged(own, folded)
    return own, refs


def _merged(over: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**under, **over}
    for key in over.keys() & under.keys() - _ANNOTATIONS:
        if key == "required":
            merged[key] = list(dict.fromkeys([*over[key], *under[key]]))
        elif key == "properties":
            merged[key] = {**over[key], **under[key]}
            if any(under[key][name] != over[key][name] for name in over[key].keys() & under[key].keys()):
                raise UnsettledError("an allOf whose parts describe one property differently")
        elif over[key] != under[key]:
            raise UnsettledError(f"an allOf whose parts differ in {key}")
    return merged


def alternatives(schema: Mapping[str, Any]) -> list[Any] | None:
    """The branches of a settled schema: of its `anyOf`, its `oneOf`, or its list of types; else None."""
    for key in ("anyOf", "oneOf"):
        if isinstance(found := schema.get(key), list):
            return found
    if isinstance(types := schema.get("type"), list):
        return [{**schema, "type": kind} for kind in types]
    return None


def is_null(schema: Any) -> bool:
    """Whether it is a schema of null alone, as unions spell what may be missing."""
    if not isinstance(schema, Mapping):
        return False
    return schema.get("type") == "null" or (schema.get("const", ...) is None or schema.get("enum") == [None])


def values_of(schema: Mapping[str, Any]) -> list[Any] | None:
    """The values that `enum` or `const` allow, null left out; None where neither stands."""
    if isinstance(listed := schema.get("enum"), list):
        return [value for value in listed if value is not None]
    if "const" in schema:
        return [] if schema["const"] is None else [schema["const"]]
    return None
