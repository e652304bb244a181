"""A JSON value that a JSON Schema accepts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batchrun.simulator.making import scalars
from batchrun.simulator.making.draws import numbers
from batchrun.simulator.making.vocabulary import WORDS

DEEP = 9
"""Levels after which only what a schema requires is given, so that one that refers to itself ends."""

DEEPEST = 20
"""Levels after which a schema that cannot end gets null."""

PLAIN_OBJECT: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "category": {"enum": ["billing", "delivery", "technical", "account", "feedback"]},
        "priority": {"enum": ["low", "normal", "high"]},
        "summary": {"type": "string"},
    },
}
"""What `json_object`, which names no schema, is answered with."""


class Label(str):
    """A string that was picked among a few; `options` are all of them."""

    __slots__ = ("options",)
    options: tuple[str, ...]


def label(picked: str, options: Sequence[str]) -> Label:
    """`picked` as a Label."""
    found = Label(picked)
    found.options = tuple(dict.fromkeys(options))
    return found


def value(schema: Any, root: Mapping[str, Any], *draw: object) -> Any:
    """A value for `schema`, the same for the same `draw`; references are looked up in `root`.

    A string picked from an `enum`, or from a union of constants, is a Label. Not heeded: `not`, `if`,
    `contains`, `patternProperties`, `propertyNames`, `dependent…`, and patterns that are not simple.
    """
    if not isinstance(schema, Mapping) or len(draw) > DEEPEST:
        return None
    if isinstance(reference := schema.get("$ref"), str):
        beside = {name: member for name, member in schema.items() if name != "$ref"}
        return value(_merged([_resolve(reference, root), beside], root), root, *draw, "$ref")
    if isinstance(parts := schema.get("allOf"), list) and parts:
        beside = {name: member for name, member in schema.items() if name != "allOf"}
        return value(_merged([*parts, beside], root), root, *draw, "allOf")
    if "const" in schema:
        return schema["const"]
    chance = numbers(2, "json", *draw)
    if isinstance(options := schema.get("enum"), list) and options:
        return _picked(options, chance[0])
    for keyword in ("anyOf", "oneOf"):
        if isinstance(options := schema.get(keyword), list) and options:
            return _branch(options, schema, keyword, root, chance[0], draw)
    return _typed(schema, root, chance, draw)


def _picked(options: Sequence[Any], chance: int) -> Any:
    found = options[chance % len(options)]
    texts = [option for option in options if isinstance(option, str)]
    return label(found, texts) if isinstance(found, str) else found


def _branch(
    options: Sequence[Any],
    schema: Mapping[str, Any],
    keyword: str,
    root: Mapping[str, Any],
    chance: int,
    draw: tuple[object, ...],
) -> Any:
    """One of several schemas; deep down one that refers to no other."""
    constants = [option["const"] for option in options if isinstance(option, Mapping) and "const" in option]
    if len(constants) == len(options):
        return _picked(constants, chance)
    flat = [option for option in options if isinstance(option, Mapping) and "$ref" not in option]
    open_ = flat if len(draw) > DEEP and flat else options
    beside = {name: member for name, member in schema.items() if name != keyword}
    return value(_merged([open_[chance % len(open_)], beside], root), root, *draw, keyword)


def _merged(schemas: Sequence[Any], root: Mapping[str, Any]) -> Any:
    """One schema that demands what several do, as far as their members do not contradict each other."""
    found: dict[str, Any] = {}
    for schema in schemas:
        if not isinstance(schema, Mapping):
            continue
        if isinstance(reference := schema.get("$ref"), str) and len(schemas) > 1 and found:
            schema = {**(_resolve(reference, root) or {}), **schema}
            schema.pop("$ref")
        properties = {**(found.get("properties") or {}), **(schema.get("properties") or {})}
        required = [*(found.get("required") or ()), *(schema.get("required") or ())]
        found |= schema
        found |= {"properties": properties} if properties else {}
        found |= {"required": required} if required else {}
    return found


def _typed(
    schema: Mapping[str, Any], root: Mapping[str, Any], chance: list[int], draw: tuple[object, ...]
) -> Any:
    match _kind(schema, chance, deep=len(draw) > DEEP):
        case "object":
            return _object(schema, root, draw)
        case "array":
            return _array(schema, root, chance, draw)
        case "integer":
            return scalars.integer(schema, chance[0] % 10)
        case "number":
            return scalars.number(schema, round(chance[0] / 65536, 3))
        case "boolean":
            return chance[0] % 2 == 0
        case "string":
            return scalars.string(schema, chance, *draw)
    return None


def _kind(schema: Mapping[str, Any], chance: list[int], *, deep: bool) -> Any:
    """The type to give; of several the first, and null in a quarter of the cases."""
    kinds = schema.get("type")
    if isinstance(kinds, list) and kinds:
        if "null" in kinds and (deep or chance[1] % 4 == 0):
            return "null"
        return next((kind for kind in kinds if kind != "null"), "null")
    if kinds is not None:
        return kinds
    return next((kind for keyword, kind in _SIGNS.items() if keyword in schema), "string")


_SIGNS = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minimum": "number",
    "maximum": "number",
    "multipleOf": "number",
}
"""Keywords that tell what a schema without `type` means."""


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], draw: tuple[object, ...]) -> dict[str, Any]:
    given, required = schema.get("properties"), schema.get("required")
    properties = given if isinstance(given, Mapping) else {}
    needed = set(map(str, required)) if isinstance(required, list) else None
    kept = [name for name in properties if _wanted(name, needed, draw)]
    found = {name: value(properties[name], root, *draw, name) for name in kept}
    further = schema.get("additionalProperties", {})
    for name in sorted((needed or set()) - set(found)):
        found[name] = value(further or {}, root, *draw, name)
    fewest = schema.get("minProperties")
    count = fewest if isinstance(fewest, int) else 0
    if not properties and isinstance(further, Mapping) and "additionalProperties" in schema:
        count = max(count, 0 if len(draw) > DEEP else 2)
    chance = numbers(1, "names", *draw)[0] if len(found) < count else 0
    for place in range(max(0, min(count, len(WORDS)) - len(found))):
        name = WORDS[(chance + place) % len(WORDS)]
        found[name] = value(further if isinstance(further, Mapping) else {}, root, *draw, name)
    return found


def _wanted(name: str, needed: set[str] | None, draw: tuple[object, ...]) -> bool:
    """Whether to give a member; a quarter of those that need not be there are left out."""
    if needed is not None and name in needed:
        return True
    if len(draw) > DEEP:
        return False
    return needed is None or numbers(1, "member", *draw, name)[0] % 4 != 0


def _array(
    schema: Mapping[str, Any], root: Mapping[str, Any], chance: list[int], draw: tuple[object, ...]
) -> list[Any]:
    first = schema.get("prefixItems")
    first = first if isinstance(first, list) else []
    items, closed = schema.get("items", {}), schema.get("items") is False
    wanted = 0 if len(draw) > DEEP else 1 + chance[0] % 2
    count = int(scalars.clamp(max(wanted, len(first)), schema.get("minItems"), schema.get("maxItems")))
    if closed:
        count = min(count, len(first))

    def item(place: int, *again: int) -> Any:
        return value(first[place] if place < len(first) else items, root, *draw, place, *again)

    if schema.get("uniqueItems") is True:
        return _distinct(item, count)
    return [item(place) for place in range(count)]


def _distinct(item: Callable[..., Any], count: int) -> list[Any]:
    """Up to `count` items that differ, of a few tries for each."""
    found: list[Any] = []
    for place in range(count):
        tries = (item(place, *(again,) * (again > 0)) for again in range(12))
        found += [next((one for one in tries if one not in found), None)]
    return found


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    """Follow a reference inside the document, such as `#/$defs/Label`."""
    found: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found
