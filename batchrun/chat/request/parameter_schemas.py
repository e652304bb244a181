"""The JSON Schemas that parameters hold: of tools, functions, response_format and structured_outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from batchrun.chat.schema.json_schema import SchemaError, compiled, plain
from batchrun.template.source import has_markup

Path: TypeAlias = tuple[str | int, ...]
"""The way to a value from the top of the parameters: keys, and positions in lists from 0."""

_PLACES: tuple[Path, ...] = (
    ("tools", "*", "function", "parameters"),
    ("functions", "*", "parameters"),
    ("response_format", "json_schema", "schema"),
    ("response_format", "structures", "*", "schema"),
    ("structured_outputs", "json"),
)
"""Where schemas stand; `*` is each item of a list."""


def schema_findings(parameters: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Each schema that is none, by the way to what is wrong in it, and why; without a full stop.

    Such a schema checks nothing, and the server refuses it, once for each row. One that holds a
    template, or is spelled as text, is not looked at.
    """
    for place in _PLACES:
        for path, schema in _found(parameters, place, ()):
            if isinstance(schema, Mapping) and not has_markup(schema):
                try:
                    compiled(plain(schema))
                except SchemaError as error:
                    yield (*path, *error.path), error.reason


def _found(value: Any, place: Path, above: Path) -> Iterator[tuple[Path, Any]]:
    """What stands at `place` in `value`, with the way to it."""
    if not place:
        yield above, value
    elif place[0] == "*":
        for at, item in enumerate(value) if isinstance(value, list) else ():
            yield from _found(item, place[1:], (*above, at))
    elif isinstance(value, Mapping) and place[0] in value:
        yield from _found(value[place[0]], place[1:], (*above, place[0]))
