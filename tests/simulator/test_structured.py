"""Values that are made up for a JSON Schema."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from batchrun.codec import dumps
from batchrun.simulator.making import patterns
from batchrun.simulator.making.structured import Label, value
from batchrun.simulator.making.written import as_json
from batchrun.simulator.reading.schema_rules import check_schema
from batchrun.simulator.refusal import RefusedError
from batchrun.simulator.replying.writing import breach


def obj(*, optional: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """A strict object with these members."""
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


TEXT: dict[str, Any] = {"type": "string"}
FORMATS = jsonschema.Draft202012Validator.FORMAT_CHECKER
LINES = {"type": "array", "items": {"$ref": "#/$defs/Line"}, "minItems": 2, "maxItems": 3}
LINE = obj(item=TEXT, count={"type": "integer", "minimum": 1, "maximum": 9})
TREE = obj(name=TEXT, children={"type": "array", "items": {"$ref": "#/$defs/Tree"}})
CHAIN = obj(next={"anyOf": [{"$ref": "#/$defs/Chain"}, {"type": "null"}]})

SCHEMAS: dict[str, dict[str, Any]] = {
    "flat": obj(a=TEXT, b={"type": "integer"}, c={"type": "number"}, d={"type": "boolean"}),
    "optional": obj(optional=("b",), a=TEXT, b={"type": "integer"}),
    "nullable": obj(a={"type": ["string", "null"]}, b={"type": ["null", "integer"]}),
    "enum": obj(label={"enum": ["ship", "shipping", "bill"]}),
    "enum of a type": obj(label={"type": "string", "enum": ["a", "b"]}),
    "nullable enum": obj(label={"type": ["string", "null"], "enum": ["a", "b", None]}),
    "enum of numbers": obj(stars={"enum": [1, 2.5, "three"]}),
    "const": obj(kind={"const": "ticket"}, version={"const": 2}),
    "union of constants": obj(label={"anyOf": [{"const": "a"}, {"const": "b"}]}),
    "union": obj(value={"anyOf": [{"type": "integer"}, obj(text=TEXT), {"type": "null"}]}),
    "one of": obj(value={"oneOf": [{"type": "integer"}, {"type": "boolean"}]}),
    "all of": {"allOf": [obj(a=TEXT) | {"additionalProperties": True}, {"required": ["a"]}]},
    "union beside a type": {"type": "object", "anyOf": [obj(a=TEXT), obj(b=TEXT)]},
    "references": obj(lines=LINES) | {"$defs": {"Line": LINE}},
    "reference with company": obj(a={"$ref": "#/$defs/A", "description": "x"}) | {"$defs": {"A": TEXT}},
    "escaped reference": obj(a={"$ref": "#/$defs/a~1b"}) | {"$defs": {"a/b": {"type": "integer"}}},
    "tree": {"$ref": "#/$defs/Tree", "$defs": {"Tree": TREE}},
    "chain": {"$ref": "#/$defs/Chain", "$defs": {"Chain": CHAIN}},
    "nested": obj(a=obj(b=obj(c=obj(d={"type": "array", "items": TEXT})))),
    "array of arrays": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    "tuple": {"type": "array", "prefixItems": [TEXT, {"type": "integer"}], "items": False, "minItems": 2},
    "unique items": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
    "long array": {"type": "array", "items": {"type": "boolean"}, "minItems": 7},
    "empty array": {"type": "array", "items": TEXT, "maxItems": 0},
    "integer bounds": {"type": "integer", "minimum": -5, "maximum": -3},
    "exclusive bounds": {"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 6},
    "number between": {"type": "number", "exclusiveMinimum": 2, "maximum": 2.5},
    "multiple": {"type": "integer", "multipleOf": 25, "minimum": 60},
    "fraction": {"type": "number", "multipleOf": 0.25, "minimum": 1},
    "large": {"type": "integer", "minimum": 2**60},
    "date": obj(at={"type": "string", "format": "date"}),
    "date-time": obj(at={"type": "string", "format": "date-time"}, t={"type": "string", "format": "time"}),
    "addresses": obj(
        mail={"type": "string", "format": "email"},
        page={"type": "string", "format": "uri"},
        ip={"type": "string", "format": "ipv4"},
        six={"type": "string", "format": "ipv6"},
        key={"type": "string", "format": "uuid"},
    ),
    "pattern": obj(plate={"type": "string", "pattern": "^[A-Z]{2}-[0-9]{1,4}$"}),
    "lengths": obj(a={"type": "string", "minLength": 90}, b={"type": "string", "maxLength": 3}),
    "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    "map with a size": {"type": "object", "minProperties": 3, "additionalProperties": obj(a=TEXT)},
    "any object": {"type": "object"},
    "required without properties": {"type": "object", "required": ["x"]},
    "no type": {"properties": {"a": TEXT}, "required": ["a"]},
    "anything": {},
}


def test_there_are_enough_schemas() -> None:
    """The table is what the tests below stand on."""
    assert len(SCHEMAS) >= 25


@pytest.mark.parametrize("name", SCHEMAS)
def test_values_are_what_their_schema_asks_for(name: str) -> None:
    """Whatever is drawn, the schema accepts it, its formats included."""
    schema = SCHEMAS[name]
    checker = jsonschema.Draft202012Validator(schema, format_checker=FORMATS)
    for draw in range(25):
        checker.validate(json.loads(dumps(value(schema, schema, draw))))


@pytest.mark.parametrize("name", sorted(set(SCHEMAS) - {"anything", "any object", "map"}))
def test_a_broken_value_is_refused(name: str) -> None:
    """What the simulator gives for wrong output is wrong indeed."""
    schema = SCHEMAS[name]
    for draw in range(10):
        broken = json.loads(dumps(breach(value(schema, schema, draw), schema)))
        assert not jsonschema.Draft202012Validator(schema).is_valid(broken)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ([], "#"),
        ({"type": "text"}, "#/type"),
        ({"type": ["string", 1]}, "#/type"),
        ({"enum": []}, "#/enum"),
        ({"properties": {"a": {"items": 3}}}, "#/properties/a/items"),
        ({"properties": []}, "#/properties"),
        ({"$defs": {"a": {"anyOf": []}}}, "#/$defs/a/anyOf"),
        ({"allOf": [{}, 1]}, "#/allOf/1"),
        ({"required": "a"}, "#/required"),
        ({"minimum": "0"}, "#/minimum"),
        ({"multipleOf": 0}, "#/multipleOf"),
        ({"minItems": 10**9}, "#/minItems"),
        ({"maxLength": -1}, "#/maxLength"),
    ],
    ids=str,
)
def test_what_is_no_schema_is_refused(schema: object, place: str) -> None:
    """The message names the place; nothing is made up for what cannot be understood."""
    with pytest.raises(RefusedError, match="Invalid schema for x: ") as caught:
        check_schema(schema, "x", "response_format")
    assert f": {place} is not valid: expected " in caught.value.refusal.message


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_a_schema_is_taken(name: str) -> None:
    """Every schema of the table passes the check."""
    check_schema(SCHEMAS[name], "x", "response_format")


def test_values_vary() -> None:
    """Null, a value, a member left out and each branch of a union all come up."""
    nullable = {json.dumps(value(SCHEMAS["nullable"], {}, draw)["b"] is None) for draw in range(40)}
    assert nullable == {"true", "false"}
    assert {len(value(SCHEMAS["optional"], {}, draw)) for draw in range(40)} == {1, 2}
    kinds = {type(value(SCHEMAS["union"], {}, draw)["value"]).__name__ for draw in range(40)}
    assert kinds == {"int", "dict", "NoneType"}


@pytest.mark.parametrize("name", SCHEMAS)
def test_json_is_written_as_the_codec_writes_it(name: str) -> None:
    """Cutting JSON into tokens around its labels changes no byte, and each label is where it says."""
    for draw in range(10):
        found = value(SCHEMAS[name], SCHEMAS[name], draw)
        text = as_json(found)
        assert str(text).encode() == dumps(found)
        for picked in text.picked:
            assert text.tokens[picked.place :][: len(picked.label)] == picked.label
            assert picked.label in picked.options


@pytest.mark.parametrize("label", ["in transit", 'say "so"', "ä/ö", "a ", " a", "", "x\ny", "tab\t"])
def test_any_text_can_be_a_label(label: str) -> None:
    """Spaces, quotation marks and escapes in labels do not shift their place."""
    schema = {"type": "object", "properties": {"label": {"enum": [label]}}}
    found = value(schema, schema, 1)
    assert isinstance(found["label"], Label)
    text = as_json(found)
    assert json.loads(str(text)) == {"label": label}
    [picked] = text.picked
    assert text.tokens[picked.place :][: len(picked.label)] == picked.label


@pytest.mark.parametrize(
    "pattern",
    [
        "abc",
        r"\d{3}-\d{4}",
        "[a-f0-9]{8}",
        "(yes|no)",
        "(?:ab)+c?",
        r"[A-Z][a-z]*\.",
        "x{2,}",
        "a|bc|",
        r"[\w.-]+@[a-z]{1,5}\.com",
        "^a.c$",
        "((a|b)(c|d)){2}",
        "[]a]",
    ],
)
def test_a_simple_pattern_is_matched(pattern: str) -> None:
    """Drawn texts match as a whole, and vary where the pattern leaves room."""
    found = {patterns.sample(pattern, draw) for draw in range(30)}
    assert all(re.fullmatch(pattern, text) for text in found)
    assert len(found) > 1 or pattern in ("abc",)


@pytest.mark.parametrize("pattern", ["(", "x[^a]", "(?=a)b", r"(a)\1", "a{500}", "(?P<x>a)", "[a", "a**"])
def test_another_pattern_is_an_error(pattern: str) -> None:
    """What is not understood is said, never guessed."""
    with pytest.raises(ValueError, match=r"regular expression|understands|repeats"):
        patterns.sample(pattern, 1)
