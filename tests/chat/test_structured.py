"""Answers and tool arguments read by their schemas."""

from __future__ import annotations

from typing import Any

import pytest

from batchrun.chat.schema.json_schema import SchemaError
from batchrun.chat.schema.structured import AnswerSchema, ArgumentsReader, Invalid, Labels, Parsed

TICKET: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"enum": ["billing", "delivery"]},
        "items": {"type": "array", "items": {"type": "object", "properties": {"price": {"type": "number"}}}},
        "note": {"type": "string"},
    },
    "required": ["label"],
    "additionalProperties": False,
}


def read(schema: dict[str, Any], text: str) -> Parsed | Invalid:
    """What an answer schema makes of a text."""
    return AnswerSchema(schema).read(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"label": "billing"}', Parsed({"label": "billing"})),
        ('```json\n{"label": "billing"}\n```', Parsed({"label": "billing"}, repaired=True)),
        ('{"label": "billing"} :-[ ', Parsed({"label": "billing"}, repaired=True)),
        ('As in [1]: {"label": "billing"}', Parsed({"label": "billing"}, repaired=True)),
        ('{"label": "billing"}\n{"label": "billing"}', Parsed({"label": "billing"}, repaired=True)),
        (
            '{"label": "billing", "note": "\\udc00"}',
            Parsed({"label": "billing", "note": "\ufffd"}, repaired=True),
        ),
        (
            'maybe {"label": "delivery"}\n</think>\n{"label": "billing"}',
            Parsed({"label": "billing"}, repaired=True),
        ),
        ('{"label": "other"} {"label": "billing"}', Parsed({"label": "billing"}, repaired=True)),
    ],
)
def test_the_value_that_fits_is_the_answer(text: str, expected: Parsed) -> None:
    """With a mark when the text needed repair."""
    assert read(TICKET, text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"label": "refund"}', '$.label: "refund" is not one of "billing" or "delivery"'),
        ("{}", '$: "label" is a required property'),
        ('{"label": "billing", "items": [{"price": "3"}]}', '$.items[0].price: "3" is not of type "number"'),
        (
            '{"label": "billing", "a b": 1}',
            "$: Additional properties are not allowed ('a b' was unexpected)",
        ),
        ('x {"label": "refund"}', '$.label: "refund" is not one of "billing" or "delivery"'),
        (
            '{"label": "billing"} or {"label": "delivery"}',
            "the text holds 2 different JSON values that fit; give one",
        ),
        ('{"label": "billing"', "the JSON ends in the middle, after 19 characters"),
        ('{"label": NaN}', "NaN is no JSON number"),
        ("", "the text is empty"),
        ("No.", "the text holds no JSON"),
        ('"billing"', '$: "billing" is not of type "object"'),
        (f'{{"label": {"[" * 90}1{"]" * 90}}}', '$.label: a list is not one of "billing" or "delivery"'),
        ('{"label": ' + "[" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_does_not_fit_is_explained(text: str, message: str) -> None:
    """With the place and what is expected there, as the model is told."""
    assert read(TICKET, text) == Invalid(message)


def test_a_message_names_three_errors_in_500_characters() -> None:
    """However long values and enums are."""
    words = [f"category-{n}" for n in range(200)]
    schema = {"type": "array", "items": {"enum": words}}
    found = read(schema, str([["x" * 3000, 10**300][n % 2] for n in range(9)]).replace("'", '"'))
    assert isinstance(found, Invalid)
    assert len(found.message) <= 500
    assert [part[:6] for part in found.message.split("; ")] == ["$[0]: ", "$[1]: ", "$[2]: "]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"u": {"k": "x"}}', '$.u.k: "x" is not of type "integer"'),
        (
            '{"u": []}',
            '$.u: a list fits no alternative: a list is not of type "null" / a list is not of type "object"',
        ),
    ],
)
def test_a_union_names_the_branch_that_was_meant(text: str, message: str) -> None:
    """Not that none of the schemas in anyOf holds."""
    branch = {"type": "object", "properties": {"k": {"type": "integer"}}}
    assert read({"properties": {"u": {"anyOf": [{"type": "null"}, branch]}}}, text) == Invalid(message)


def test_large_integers_stay_exact_and_a_date_may_be_spelled_freely() -> None:
    """`format` does not cost a second answer; a rounded number would be a wrong one."""
    schema = {"properties": {"n": {"type": "integer"}, "day": {"type": "string", "format": "date"}}}
    text = '{"n": 123456789012345678901234567890, "day": "31 March"}'
    for dialect in (
        "https://json-schema.org/draft/2020-12/schema",
        "http://json-schema.org/draft-07/schema#",
    ):
        found = read({"$schema": dialect, **schema}, text)
        assert found == Parsed({"n": 123456789012345678901234567890, "day": "31 March"})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "array", "items": {"type": "integer"}}, "[1, 2]"),
        ({"enum": ["a", "b"]}, '"b"'),
        (
            {"anyOf": [{"type": "object", "properties": {"x": {"type": "integer"}}}, {"type": "null"}]},
            '{"x": 1}',
        ),
        ({"$ref": "#/$defs/L", "$defs": {"L": {"enum": ["a", "b"]}}}, '"a"'),
    ],
)
def test_a_root_that_is_no_object_is_asked_for_in_one(schema: dict[str, Any], value: str) -> None:
    """And taken out of it again; the bare value is taken as well."""
    prepared = AnswerSchema(schema)
    for strict in (False, True):
        sent = prepared.response_format(strict)["json_schema"]["schema"]
        assert sent["type"] == "object"
        assert list(sent["properties"]) == ["value"]
    bare = prepared.read(value)
    assert isinstance(bare, Parsed)
    assert prepared.read(f'{{"value": {value}}}') == bare


def test_a_wrapped_answer_that_is_wrong_is_explained_from_inside() -> None:
    """The path is the job's own schema's."""
    schema = {"type": "array", "items": {"type": "integer"}}
    assert read(schema, '{"value": ["x"]}') == Invalid('$[0]: "x" is not of type "integer"')


def test_response_format_is_what_the_reference_describes() -> None:
    """Strict with the rewritten schema, otherwise with the job's own."""
    prepared = AnswerSchema({"type": "object", "properties": {"a": {"type": "string"}}})
    assert prepared.response_format(True) == {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "schema": {
                "type": "object",
                "properties": {"a": {"type": ["string", "null"]}},
                "required": ["a"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    }
    assert prepared.response_format(False)["json_schema"]["schema"] == prepared.schema
    assert prepared.response_format(False)["json_schema"]["strict"] is False


def test_a_schema_without_a_strict_form_is_sent_as_it_is() -> None:
    """And says why."""
    prepared = AnswerSchema({"type": "object"})
    assert prepared.response_format(True)["json_schema"] == {
        "name": "answer",
        "schema": {"type": "object"},
        "strict": False,
    }
    assert prepared.obstacle == "the root: an object with free keys"


LABELS: list[tuple[dict[str, Any], Labels | None]] = [
    ({"enum": ["a", "b"]}, Labels(("value",), ("a", "b"))),
    ({"properties": {"l": {"enum": ["a", "b"]}, "why": {"type": "string"}}}, Labels(("l",), ("a", "b"))),
    (
        {"properties": {"l": {"type": ["string", "null"], "enum": ["a", "b", None]}}},
        Labels(("l",), ("a", "b")),
    ),
    ({"properties": {"l": {"anyOf": [{"const": "a"}, {"const": "b"}]}}}, Labels(("l",), ("a", "b"))),
    (
        {
            "properties": {"l": {"anyOf": [{"$ref": "#/$defs/L"}, {"type": "null"}]}},
            "$defs": {"L": {"enum": ["b", "a"]}},
        },
        Labels(("l",), ("b", "a")),
    ),
    (
        {
            "$ref": "#/$defs/T",
            "$defs": {"T": {"properties": {"l": {"$ref": "#/$defs/L"}}}, "L": {"enum": ["b", "a"]}},
        },
        Labels(("l",), ("b", "a")),
    ),
    ({"properties": {"l": {"enum": ["a", "b"]}, "m": {"enum": ["c", "d"]}}}, None),
    ({"properties": {"l": {"enum": [1, 2]}}}, None),
    ({"properties": {"l": {"enum": ["a", 2]}}}, None),
    ({"properties": {"l": {"const": "a"}}}, None),
    ({"properties": {"l": {"anyOf": [{"enum": ["a", "b"]}, {"type": "string"}]}}}, None),
    ({"properties": {"l": {"type": "array", "items": {"enum": ["a", "b"]}}}}, None),
    ({"type": "string"}, None),
    ({"$ref": "#"}, None),
]


@pytest.mark.parametrize(("schema", "labels"), LABELS)
def test_labels_are_those_of_the_only_enum(schema: dict[str, Any], labels: Labels | None) -> None:
    """A field of one value is a tag, no choice; two enums leave open which one is meant."""
    assert AnswerSchema(schema).labels == labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"city": "Rome"}', Parsed({"city": "Rome"})),
        ('{"city": "Rome",}', Parsed({"city": "Rome"}, repaired=True)),
        ("", Invalid('$: "city" is a required property')),
        ("[]", Invalid('$: a list is not of type "object"')),
        ('{"city": 3}', Invalid('$.city: 3 is not of type "string"')),
    ],
)
def test_arguments_are_read_the_same_way(text: str, expected: Parsed | Invalid) -> None:
    """No text is an object without members, as models without parameters send it."""
    reader = ArgumentsReader({"properties": {"city": {"type": "string"}}, "required": ["city"]})
    assert reader.read(text) == expected
    assert ArgumentsReader({}).read("") == Parsed({})


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "strin"}, "^type: 'strin' is no type; the types are object"),
        ({"properties": {"a": {"minimum": "x"}}}, "^properties.a.minimum: x is not of type"),
        ({"properties": {"a": {"pattern": "(["}}}, "^properties.a.pattern: "),
        (
            {"properties": {"a": {"$ref": "#/$defs/x"}}},
            "^properties.a.\\$ref: '#/\\$defs/x' points to nothing",
        ),
        ({"$defs": {"a": {"$ref": "other.json"}}}, "^\\$defs.a.\\$ref: 'other.json' is in another document"),
        ({"$ref": "file:///etc/passwd"}, "in another document"),
        ({"$schema": "http://127.0.0.1:9/x"}, "meta-schema"),
        ({"default": {1, 2}}, "not a JSON Schema"),
    ],
)
def test_a_wrong_schema_is_refused_by_its_place(schema: dict[str, Any], message: str) -> None:
    """And no other document is ever fetched."""
    with pytest.raises(SchemaError, match=message):
        AnswerSchema(schema)
    with pytest.raises(SchemaError, match=message):
        ArgumentsReader(schema)


def doubling(levels: int) -> dict[str, Any]:
    """A schema of a few lines in which each definition refers to the one before twice."""
    definitions: dict[str, Any] = {"d0": {"type": "string"}}
    for level in range(1, levels):
        before = {"$ref": f"#/$defs/d{level - 1}"}
        definitions[f"d{level}"] = {"type": "object", "properties": {"a": before, "b": before}}
    return {"$defs": definitions, "$ref": f"#/$defs/d{levels - 1}"}


def test_references_that_double_at_every_level_are_refused() -> None:
    """Its columns alone would be millions; one of a thousand is taken."""
    with pytest.raises(SchemaError, match="more than 100,000 parts"):
        AnswerSchema(doubling(30))
    assert isinstance(AnswerSchema(doubling(10)).read("{}"), Parsed)


def test_a_schema_that_contains_itself_has_an_end() -> None:
    """A reference that is being followed counts once."""
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "other": {"$ref": "#"}}}
    schema = {"$defs": {"node": node}, "$ref": "#/$defs/node"}
    assert isinstance(AnswerSchema(schema).read('{"next": {}}'), Parsed)
