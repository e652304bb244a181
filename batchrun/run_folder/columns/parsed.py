"""The type of the `parsed` column: what a JSON Schema says, as an Arrow type that keeps answers unchanged.

Objects with declared properties become structs, lists lists, and scalars int64, float64, bool and
string; dates stay text. What no one Arrow type can hold unchanged is JSON text: unions of different
kinds, maps with free keys, schemas that contain themselves, integers beyond 64 bits, tuples, anything
at all. Such members are marked in the fields' metadata as input columns of JSON are.

What a struct does not tell: a missing member and null are both null, and a member that the schema does
not declare is not in it; the raw answer in `completion` keeps both. A number is a double, as RFC 8259
(section 6) says of JSON that is exchanged: an integer beyond 2^53 in a `number` is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from batchrun import codec
from batchrun.chat.schema.json_schema import UnsettledError, alternatives, is_null, settled, values_of
from batchrun.chat.schema.json_text import cleaned
from batchrun.source.overrides import mark, marked

MAX_DEPTH = 20
MAX_MEMBERS = 2000
"""Of all structs together: a schema can spell more by references than memory holds."""

_ROOT_TEXT = pa.large_string()
_EXACT = 2**53
_INT64 = (-(2**63), 2**63 - 1)
_MOST_NAMED = 8


def arrow_type(schema: Mapping[str, Any]) -> tuple[pa.DataType, str | None]:
    """The type of `parsed` for a plain, valid schema, and a sentence on what is kept as JSON text, if any.

    A `string` is JSON text of the whole answer; an answer that is itself text is a `large_string`,
    so that the type alone tells the two apart.
    """
    types = _Types(schema)
    root = types.of("parsed", schema, "parsed", 0, frozenset())
    if mark(root):
        return pa.string(), f"`parsed` is a JSON string, because the schema is {types.fallbacks[0][1]}."
    if not types.fallbacks:
        return _ROOT_TEXT if root.type == pa.string() else root.type, None
    named = [f"{path} ({reason})" for path, reason in types.fallbacks[:_MOST_NAMED]]
    more = len(types.fallbacks) - len(named)
    listed = ", ".join(named) + (f" and {more} more" if more else "")
    return root.type, f"`parsed` keeps as JSON strings: {listed}."


class _FallbackError(Exception):
    """Only JSON text holds these values; the message is what they are."""


@dataclass(slots=True)
class _Types:
    """The types of one schema's places, and where they fell back to JSON text: path and reason."""

    root: Mapping[str, Any]
    fallbacks: list[tuple[str, str]] = field(default_factory=list)
    members: int = 0

    def of(self, name: str, schema: Any, path: str, depth: int, refs: frozenset[str]) -> pa.Field:
        """The field `name` for `schema`, which stands at `path`; `refs` were followed on the way to it."""
        before = len(self.fallbacks)
        try:
            return pa.field(name, self._type(schema, path, depth, refs))
        except (_FallbackError, UnsettledError) as error:
            del self.fallbacks[before:]
            self.fallbacks.append((path, str(error)))
            return marked(name, "json")

    def _type(self, schema: Any, path: str, depth: int, refs: frozenset[str]) -> pa.DataType:
        schema, refs = settled(schema, self.root, refs)
        if depth > MAX_DEPTH:
            raise _FallbackError(f"nested more than {MAX_DEPTH} levels deep")
        if (values := values_of(schema)) is not None:
            return _values_type(values)
        if (branches := alternatives(schema)) is not None:
            return self._union(schema, branches, path, depth, refs)
        kind = schema.get("type") or ("object" if "properties" in schema else None)
        if kind == "object":
            return self._struct(schema, path, depth, refs)
        if kind == "array" or (kind is None and "items" in schema):
            return self._list(schema, path, depth, refs)
        if kind == "integer":
            return _integer_type(schema)
        if kind in _SCALARS:
            return _SCALARS[kind]
        raise _FallbackError("always null" if kind == "null" else "a value of any kind")

    def _union(
        self, schema: Mapping[str, Any], branches: list[Any], path: str, depth: int, refs: frozenset[str]
    ) -> pa.DataType:
        """The type that all branches share, null aside."""
        kinds = [branch for branch in branches if not is_null(branch)]
        if not isinstance(schema.get("type"), list) and ({"properties", "items"} & schema.keys()):
            raise _FallbackError("a union beside other members")
        if len(kinds) == 1:
            return self._type(kinds[0], path, depth, refs)
        types = [self._type(kind, path, depth, refs) for kind in kinds]
        if types and all(kind == types[0] and not pa.types.is_nested(kind) for kind in types):
            return types[0]
        if set(map(str, types)) == {"int64", "double"} and all(self._exact(kind, refs) for kind in kinds):
            return pa.float64()
        raise _FallbackError("a union of different kinds" if types else "always null")

    def _exact(self, schema: Any, refs: frozenset[str]) -> bool:
        """Whether float64 holds every integer of a branch."""
        schema, _ = settled(schema, self.root, refs)
        bounds = (schema.get("minimum"), schema.get("maximum"))
        is_bounded = all(isinstance(bound, int | float) and abs(bound) <= _EXACT for bound in bounds)
        return schema.get("type") == "number" or is_bounded

    def _struct(self, schema: Mapping[str, Any], path: str, depth: int, refs: frozenset[str]) -> pa.DataType:
        properties = schema.get("properties") or {}
        if schema.get("additionalProperties", not properties) is not False or schema.get("patternProperties"):
            raise _FallbackError("a map with free keys")
        if not properties:  # Parquet has no form for a struct without members
            raise _FallbackError("an object without members")
        self.members += len(properties)
        if self.members > MAX_MEMBERS:
            raise _FallbackError(f"more than {MAX_MEMBERS:,} members")
        if any(cleaned(name)[1] for name in properties):
            raise _FallbackError("an object with a lone surrogate in a key")
        fields = [
            self.of(name, member, f"{path}.{name}", depth + 1, refs) for name, member in properties.items()
        ]
        return pa.struct(fields)

    def _list(self, schema: Mapping[str, Any], path: str, depth: int, refs: frozenset[str]) -> pa.DataType:
        items = schema.get("items", True)
        if "prefixItems" in schema or isinstance(items, list):
            raise _FallbackError("a list with a schema for each position")
        return pa.list_(self.of("item", items, f"{path}[]", depth + 1, refs))


_SCALARS = {"string": pa.string(), "number": pa.float64(), "boolean": pa.bool_()}


def _values_type(values: list[Any]) -> pa.DataType:
    """The type of an enum's values, null aside."""
    kinds = set(map(type, values))
    if kinds == {str}:
        return pa.string()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int} and all(_INT64[0] <= value <= _INT64[1] for value in values):
        return pa.int64()
    if kinds and kinds <= {int, float} and all(abs(value) <= _EXACT for value in values):
        return pa.float64()
    raise _FallbackError("an enum of different kinds" if values else "always null")


def _integer_type(schema: Mapping[str, Any]) -> pa.DataType:
    """int64, unless the schema itself speaks of integers beyond it."""
    inwards = {"minimum": 0, "maximum": 0, "exclusiveMinimum": 1, "exclusiveMaximum": -1}
    for key, step in inwards.items():
        bound = schema.get(key)
        if (
            isinstance(bound, int | float)
            and not isinstance(bound, bool)
            and not _INT64[0] <= bound + step <= _INT64[1]
        ):
            raise _FallbackError("an integer beyond 64 bits")
    return pa.int64()


def arrow_array(values: Sequence[Any], wanted: pa.DataType) -> pa.Array:
    """The `parsed` values as a column of a type that `arrow_type` gave; `string` takes JSON text of each.

    What does not fit, as in an answer to an older schema, is null: the value, or the member of it.
    """
    convert = _json if wanted == pa.string() else _converter(pa.field("parsed", wanted))
    return pa.array([convert(value) for value in values], wanted)


def alike(one: pa.Field, other: pa.Field) -> bool:
    """Whether two columns keep values in the same way, whatever a file calls the items of a list."""
    if mark(one) != mark(other):
        return False
    if pa.types.is_struct(one.type) and pa.types.is_struct(other.type):
        pairs = zip(one.type, other.type, strict=False)
        same = one.type.num_fields == other.type.num_fields
        return same and all(ours.name == theirs.name and alike(ours, theirs) for ours, theirs in pairs)
    if pa.types.is_list(one.type) and pa.types.is_list(other.type):
        return alike(one.type.value_field, other.type.value_field)
    return bool(one.type == other.type)


def values_behind(values: Sequence[Any], kind: pa.DataType) -> list[Any]:
    """The values that a published column of this type was made of, as far as it tells."""
    read = loaded if kind == pa.string() else _reader(pa.field("parsed", kind))
    return [read(value) for value in values]


def _reader(place: pa.Field) -> Callable[[Any], Any]:
    if mark(place):
        return loaded
    if pa.types.is_struct(place.type):
        members = {member.name: _reader(member) for member in place.type}
        return lambda value: value and {name: read(value[name]) for name, read in members.items()}
    if pa.types.is_list(place.type):
        item = _reader(place.type.value_field)
        return lambda value: value and [item(part) for part in value]
    return lambda value: value


def loaded(text: str | None) -> Any:
    """What JSON text holds; None for any other text, as an answer to a schema of text was published."""
    with suppress(ValueError):
        return None if text is None else codec.loads(text.encode())
    return None


def _converter(place: pa.Field) -> Callable[[Any], Any]:
    if mark(place):
        return _json
    if pa.types.is_struct(place.type):
        return _struct_converter(place.type)
    if pa.types.is_list(place.type):
        item = _converter(place.type.value_field)
        return lambda value: [item(part) for part in value] if type(value) is list else None
    return _CONVERTERS[place.type]


def _struct_converter(struct: pa.StructType) -> Callable[[Any], Any]:
    members = {member.name: _converter(member) for member in struct}

    def converted(value: Any) -> Any:
        if type(value) is not dict:
            return None
        return {name: convert(value.get(name)) for name, convert in members.items()}

    return converted


def _json(value: Any) -> str | None:
    return None if value is None else codec.dumps(value).decode()


def _text(value: Any) -> str | None:
    text: str | None = cleaned(value)[0] if type(value) is str else None
    return text


def _bool(value: Any) -> bool | None:
    return value if type(value) is bool else None


def _int64(value: Any) -> int | None:
    if type(value) is float and value.is_integer():  # JSON Schema counts 1.0 as an integer
        value = int(value)
    return value if type(value) is int and _INT64[0] <= value <= _INT64[1] else None


def _float64(value: Any) -> float | None:
    if type(value) not in (int, float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return None


_CONVERTERS: dict[pa.DataType, Callable[[Any], Any]] = {
    pa.string(): _text,
    _ROOT_TEXT: _text,
    pa.bool_(): _bool,
    pa.int64(): _int64,
    pa.float64(): _float64,
}
