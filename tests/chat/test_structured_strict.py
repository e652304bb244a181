"""Schemas in strict form, and answers in strict form read as the job's own schema means them."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from batchrun.chat.schema.strict import strict_schema
from batchrun.chat.schema.structured import AnswerSchema, Parsed

STRING = {"type": "string"}
TREE = {
    "properties": {"name": STRING, "kids": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["name"],
}


def obj(**members: Any) -> dict[str, Any]:
    """An object of strict form."""
    return {"type": "object", "properties": members, "required": [*members], "additionalProperties": False}


REWRITTEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "required": ({"type": "object", "properties": {"a": STRING}, "required": ["a"]}, obj(a=STRING)),
    "optional": ({"properties": {"a": STRING}}, obj(a={"type": ["string", "null"]})),
    "already nullable": (
        {"properties": {"a": {"type": ["integer", "null"]}}},
        obj(a={"type": ["integer", "null"]}),
    ),
    "optional enum": (
        {"properties": {"a": {"enum": ["x", "y"]}}},
        obj(a={"type": ["string", "null"], "enum": ["x", "y", None]}),
    ),
    "optional const": (
        {"properties": {"a": {"const": 1}}},
        obj(a={"anyOf": [{"type": "integer", "const": 1}, {"type": "null"}]}),
    ),
    "optional union": (
        {"properties": {"a": {"oneOf": [STRING, {"type": "integer"}]}}},
        obj(a={"anyOf": [STRING, {"type": "integer"}, {"type": "null"}]}),
    ),
    "nullable union": (
        {"properties": {"a": {"anyOf": [STRING, {"type": "null"}]}}},
        obj(a={"anyOf": [STRING, {"type": "null"}]}),
    ),
    "optional reference": (
        {"properties": {"a": {"$ref": "#/definitions/S"}}, "definitions": {"S": STRING}},
        {**obj(a={"anyOf": [{"$ref": "#/$defs/S"}, {"type": "null"}]}), "$defs": {"S": STRING}},
    ),
    "a described reference": (
        {
            "properties": {"a": {"$ref": "#/$defs/S", "description": "d"}},
            "$defs": {"S": STRING},
            "required": ["a"],
        },
        obj(a={"description": "d", "type": "string"}),
    ),
    "allOf": (
        {
            "allOf": [
                {"properties": {"a": STRING}, "required": ["a"]},
                {"properties": {"b": STRING}, "required": ["b"]},
            ]
        },
        obj(a=STRING, b=STRING),
    ),
    "unsupported keywords": (
        {
            "properties": {
                "a": {"type": "string", "minLength": 3, "default": "x", "format": "uri", "pattern": "^a"}
            },
            "required": ["a"],
            "minProperties": 1,
            "title": "T",
        },
        {"title": "T", **obj(a={"type": "string", "pattern": "^a"})},
    ),
    "bounds": (
        {
            "properties": {
                "n": {"type": "integer", "minimum": 1, "exclusiveMaximum": 5},
                "l": {"type": "array", "items": {"type": "number"}, "maxItems": 3, "uniqueItems": True},
                "d": {"type": "string", "format": "date"},
            },
            "required": ["n", "l", "d"],
        },
        obj(
            n={"type": "integer", "minimum": 1, "exclusiveMaximum": 5},
            l={"type": "array", "items": {"type": "number"}, "maxItems": 3},
            d={"type": "string", "format": "date"},
        ),
    ),
    "a tree": (
        TREE,
        obj(name=STRING, kids={"type": ["array", "null"], "items": {"$ref": "#"}}),
    ),
    "a root reference": (
        {"$ref": "#/$defs/T", "$defs": {"T": {"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}}}}},
        {
            **obj(t={"anyOf": [{"$ref": "#/$defs/T"}, {"type": "null"}]}),
            "$defs": {"T": obj(t={"anyOf": [{"$ref": "#/$defs/T"}, {"type": "null"}]})},
        },
    ),
    "a recursive list": (
        {"type": "array", "items": {"$ref": "#"}},
        obj(value={"type": "array", "items": {"$ref": "#/properties/value"}}),
    ),
    "an enum": ({"enum": ["a", "b"]}, obj(value={"type": "string", "enum": ["a", "b"]})),
}


@pytest.mark.parametrize(("schema", "strict"), REWRITTEN.values(), ids=list(REWRITTEN))
def test_a_schema_in_strict_form(schema: dict[str, Any], strict: dict[str, Any]) -> None:
    """Every object is closed and every property required; the result is a valid schema."""
    assert strict_schema(schema) == (strict, None)
    jsonschema.Draft202012Validator.check_schema(strict)


def nested(levels: int) -> dict[str, Any]:
    """Objects in objects."""
    return {"properties": {"o": nested(levels - 1) if levels > 1 else STRING}}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "object"}, "the root: an object with free keys"),
        (
            {"properties": {"a": {"additionalProperties": STRING, "type": "object"}}},
            "a: an object with free keys",
        ),
        ({"properties": {"a": STRING}, "additionalProperties": True}, "the root: an object with free keys"),
        (
            {"properties": {"a": STRING}, "patternProperties": {"^x": STRING}},
            "the root: an object with free keys",
        ),
        ({"properties": {"a": {}}}, "a: a value of any kind"),
        ({"properties": {"a": True}}, "a: a value of any kind"),
        ({"properties": {"a": {"type": "array"}}}, "a: a value of any kind"),
        (
            {"properties": {"a": {"type": "array", "prefixItems": [STRING]}}},
            "a: a list with a schema for each position",
        ),
        ({"properties": {"a": {"enum": [{"x": 1}]}}}, "a: an enum of objects or lists"),
        ({"properties": {"a": {"anyOf": [STRING], "properties": {}}}}, "a: a union beside other members"),
        (
            {"properties": {"a": {"$ref": "#/properties/b"}, "b": STRING}},
            "a: #/properties/b is a reference to something else than a definition",
        ),
        ({"allOf": [{"type": "object"}, {"type": "string"}]}, "an allOf whose parts differ in type"),
        (nested(11), "o: more than 10 levels of objects"),
        ({"properties": {f"p{n}": STRING for n in range(5001)}}, "more than 5,000 properties"),
        ({"enum": [str(n) for n in range(1001)]}, "more than 1,000 enum values"),
        ({"properties": {"x" * 120_001: STRING}}, "more than 120,000 characters of names and values"),
    ],
)
def test_a_schema_without_a_strict_form_says_why(schema: dict[str, Any], reason: str) -> None:
    """What OpenAI refuses is not sent as strict; ten levels and 5,000 properties are still taken."""
    assert strict_schema(schema) == (None, reason)
    assert strict_schema(nested(10))[1] is None
    assert strict_schema({"properties": {f"p{n}": STRING for n in range(5000)}})[1] is None


SHAPE = {
    "anyOf": [
        {
            "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}, "note": STRING},
            "required": ["kind", "r"],
        },
        {
            "properties": {"kind": {"const": "dot"}, "note": {"type": ["string", "null"]}},
            "required": ["kind"],
        },
    ]
}

ROUND_TRIPS: list[tuple[dict[str, Any], Any, Any]] = [
    ({"properties": {"a": STRING}}, {"a": None}, {}),
    ({"properties": {"a": {"type": ["string", "null"]}}}, {"a": None}, {"a": None}),
    ({"properties": {"a": STRING, "b": STRING}}, {"a": "x", "b": None}, {"a": "x"}),
    (
        {"properties": {"a": {"type": ["string", "null"]}, "b": STRING, "c": {"enum": ["x", None]}}},
        {"a": None, "b": None, "c": None},
        {"a": None, "c": None},
    ),
    ({"properties": {"a": {"$ref": "#/$defs/S"}}, "$defs": {"S": STRING}}, {"a": None}, {}),
    ({"properties": {"a/b~%": STRING, "a b": STRING}}, {"a/b~%": None, "a b": None}, {}),
    (
        TREE,
        {"name": "r", "kids": [{"name": "k", "kids": None}, {"name": "l", "kids": []}]},
        {"name": "r", "kids": [{"name": "k"}, {"name": "l", "kids": []}]},
    ),
    (
        {"properties": {"s": SHAPE}},
        {"s": {"kind": "circle", "r": 1.5, "note": None}},
        {"s": {"kind": "circle", "r": 1.5}},
    ),
    (
        {"properties": {"s": SHAPE}},
        {"s": {"kind": "dot", "note": None}},
        {"s": {"kind": "dot", "note": None}},
    ),
    (SHAPE, {"value": {"kind": "circle", "r": 2, "note": None}}, {"kind": "circle", "r": 2}),
    (
        {"type": "array", "items": {"properties": {"a": STRING}}},
        {"value": [{"a": None}, {"a": "x"}]},
        [{}, {"a": "x"}],
    ),
    (
        {"allOf": [{"properties": {"a": STRING}}, {"properties": {"b": STRING}}]},
        {"a": None, "b": "x"},
        {"b": "x"},
    ),
]


@pytest.mark.parametrize(("schema", "answer", "expected"), ROUND_TRIPS)
def test_a_strict_answer_is_read_by_the_jobs_own_schema(
    schema: dict[str, Any], answer: Any, expected: Any
) -> None:
    """A null is taken out where it stands for an absent member, and nowhere else."""
    strict, _ = strict_schema(schema)
    assert strict is not None
    jsonschema.validate(answer, strict)
    assert AnswerSchema(schema).read(json.dumps(answer)) == Parsed(expected)
    jsonschema.validate(expected, schema)
