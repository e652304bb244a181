"""Nulls that stand for absent members, taken out of an answer again.

Strict structured outputs make every property required, so that an optional one is asked for as
nullable. A null is taken out where the job's own schema neither requires the member nor allows null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batchrun.chat.schema.json_schema import pointed

if TYPE_CHECKING:
    import jsonschema_rs


@dataclass(slots=True)
class _Place:
    """What to do at one place of the schema; places of a recursive schema form a cycle."""

    also: list[_Place] = field(default_factory=list)
    """Other schemas of the same value: `$ref`, `allOf`."""
    members: dict[str, _Place] = field(default_factory=dict)
    droppable: set[str] = field(default_factory=set)
    items: _Place | None = None
    branches: list[tuple[jsonschema_rs.Validator, _Place]] = field(default_factory=list)
    """Of `anyOf` or `oneOf`: the first whose validator takes the result decides."""

    def below(self) -> list[_Place]:
        items = [self.items] if self.items else []
        return [*self.also, *self.members.values(), *items, *(place for _, place in self.branches)]


class Absent:
    """The places of a plain, valid schema where null can stand for an absent member, prepared once."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        import jsonschema_rs  # as in `json_schema.compiled`

        self._validators = jsonschema_rs.validator_map_for(schema, offline=True, validate_formats=False)
        self._places: dict[str, _Place] = {}
        self._root = self._place("#")

    def __bool__(self) -> bool:
        """Whether there is any such place."""
        return any(place.droppable for place in self._places.values())

    def removed(self, value: Any) -> Any:
        """`value` without the nulls that stand for absent members; `value` itself is left alone."""
        return _removed(self._root, value)

    def _place(self, pointer: str) -> _Place:
        if pointer in self._places:
            return self._places[pointer]
        place = self._places[pointer] = _Place()
        schema = pointed(self._schema, pointer)
        if not isinstance(schema, Mapping):
            return place
        reference = schema.get("$ref")
        if isinstance(reference, str) and pointed(self._schema, reference) is not None:
            place.also.append(self._place(reference))
        place.also += [self._place(f"{pointer}/allOf/{i}") for i in range(len(schema.get("allOf") or ()))]
        required = schema.get("required") or ()
        for name in schema.get("properties") or ():
            below = f"{pointer}/properties/{name.replace('~', '~0').replace('/', '~1').replace('%', '%25')}"
            place.members[name] = self._place(below)
            if name not in required and not self._takes_null(below):
                place.droppable.add(name)
        if isinstance(schema.get("items"), Mapping):
            place.items = self._place(f"{pointer}/items")
        for keyword in ("anyOf", "oneOf"):
            for index in range(len(schema.get(keyword) or ())):
                below = f"{pointer}/{keyword}/{index}"
                if validator := self._validators.get(below):
                    place.branches.append((validator, self._place(below)))
        return place

    def _takes_null(self, pointer: str) -> bool:
        validator = self._validators.get(pointer) or self._validators.get(pointer.replace("%25", "%"))
        return validator is None or validator.is_valid(None)


def _removed(place: _Place, value: Any) -> Any:
    if not isinstance(value, dict | list):
        return value
    for other in place.also:
        value = _removed(other, value)
    if isinstance(value, dict) and place.members:
        value = {
            name: _removed(place.members[name], item) if name in place.members else item
            for name, item in value.items()
            if item is not None or name not in place.droppable
        }
    elif isinstance(value, list) and place.items:
        value = [_removed(place.items, item) for item in value]
    for validator, branch in place.branches:
        if validator.is_valid(attempt := _removed(branch, value)):
            return attempt
    return value
