"""The type of `parsed`: JSON Schemas of the kind people write, and answers that come back unchanged."""

from __future__ import annotations

from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from batchrun import codec
from batchrun.chat.schema.structured import AnswerSchema, Parsed
from batchrun.run_folder.columns.parsed import alike, arrow_array, arrow_type
from batchrun.source.overrides import mark

STRING = {"type": "string"}
INTEGER = {"type": "integer"}


class Level(Enum):
    """A pydantic enum."""

    low = "low"
    high = "high"


class Address(BaseModel):
    """A nested model."""

    street: str
    zip: str | None = None


class Person(BaseModel):
    """A model with what pydantic's schemas hold."""

    name: str = Field(min_length=1)
    born: date
    level: Level
    mood: Literal["good", "bad"] = "good"
    addresses: list[Address] = []
    height: float | None = None
    scores: dict[str, float] = {}
    extra: int | str | None = None


class Node(BaseModel):
    """A model that contains itself."""

    value: int
    children: list[Node] = []


def members(**properties: Any) -> dict[str, Any]:
    """An object schema."""
    return {"type": "object", "properties": properties}


NAMED: dict[str, tuple[dict[str, Any], str]] = {
    "flat": (
        members(a=STRING, b=INTEGER, c={"type": "number"}, d={"type": "boolean"}),
        "struct<a: string, b: int64, c: double, d: bool>",
    ),
    "nested": (members(a=members(b=members(c=STRING))), "struct<a: struct<b: struct<c: string>>>"),
    "array of scalars": (members(a={"type": "array", "items": INTEGER}), "struct<a: list<item: int64>>"),
    "array of objects": (
        members(a={"type": "array", "items": members(b=STRING)}),
        "struct<a: list<item: struct<b: string>>>",
    ),
    "array of arrays": (
        members(a={"type": "array", "items": {"type": "array", "items": STRING}}),
        "struct<a: list<item: list<item: string>>>",
    ),
    "nullable by type": (members(a={"type": ["integer", "null"]}), "struct<a: int64>"),
    "nullable by anyOf": (members(a={"anyOf": [STRING, {"type": "null"}]}), "struct<a: string>"),
    "nullable object": (
        members(a={"oneOf": [members(b=STRING), {"type": "null"}]}),
        "struct<a: struct<b: string>>",
    ),
    "enum of strings": (members(a={"enum": ["x", "y"]}), "struct<a: string>"),
    "nullable enum": (members(a={"enum": ["x", None]}), "struct<a: string>"),
    "enum of integers": (members(a={"enum": [1, 2]}), "struct<a: int64>"),
    "enum of numbers": (members(a={"enum": [1, 2.5]}), "struct<a: double>"),
    "enum of kinds": (members(a={"enum": [1, "x"]}), "struct<a: string>"),
    "const": (members(a={"const": "x"}, b={"const": True}), "struct<a: string, b: bool>"),
    "union of constants": (members(a={"anyOf": [{"const": "x"}, {"const": "y"}]}), "struct<a: string>"),
    "union of kinds": (members(a={"anyOf": [STRING, INTEGER]}), "struct<a: string>"),
    "union by type": (members(a={"type": ["string", "integer"]}), "struct<a: string>"),
    "union of objects": (members(a={"anyOf": [members(b=STRING), members(c=STRING)]}), "struct<a: string>"),
    "integer or number": (members(a={"anyOf": [INTEGER, {"type": "number"}]}), "struct<a: string>"),
    "small integer or number": (
        members(a={"anyOf": [{"type": "integer", "minimum": 0, "maximum": 9}, {"type": "number"}]}),
        "struct<a: double>",
    ),
    "bounded integer": (
        members(a={"type": "integer", "minimum": 0, "maximum": 2**63 - 1}),
        "struct<a: int64>",
    ),
    "large integer": (members(a={"type": "integer", "maximum": 2**64}), "struct<a: string>"),
    "definition": (
        {**members(a={"$ref": "#/$defs/S"}), "$defs": {"S": members(b=STRING)}},
        "struct<a: struct<b: string>>",
    ),
    "draft 7 definition": (
        {"$ref": "#/definitions/S", "definitions": {"S": members(b=STRING)}},
        "struct<b: string>",
    ),
    "reference used twice": (
        {**members(a={"$ref": "#/$defs/S"}, b={"$ref": "#/$defs/S"}), "$defs": {"S": INTEGER}},
        "struct<a: int64, b: int64>",
    ),
    "recursive": (
        members(name=STRING, kids={"type": "array", "items": {"$ref": "#"}}),
        "struct<name: string, kids: list<item: struct<name: string, kids: list<item: string>>>>",
    ),
    "allOf": ({"allOf": [members(a=STRING), members(b=INTEGER)]}, "struct<a: string, b: int64>"),
    "date and time": (
        members(a={"type": "string", "format": "date"}, b={"type": "string", "format": "date-time"}),
        "struct<a: string, b: string>",
    ),
    "free-form map": (members(a={"type": "object", "additionalProperties": INTEGER}), "struct<a: string>"),
    "object of any kind": (members(a={"type": "object"}), "struct<a: string>"),
    "object with extras": (
        members(a={**members(b=STRING), "additionalProperties": True}),
        "struct<a: string>",
    ),
    "closed object": ({**members(a=STRING), "additionalProperties": False}, "struct<a: string>"),
    "empty object": (members(a={"type": "object", "additionalProperties": False}), "struct<a: string>"),
    "tuple": (members(a={"type": "array", "prefixItems": [STRING, INTEGER]}), "struct<a: string>"),
    "array of anything": (members(a={"type": "array"}), "struct<a: list<item: string>>"),
    "anything": (members(a={}, b=True, c={"type": "null"}), "struct<a: string, b: string, c: string>"),
    "odd names": (
        members(**{"a b": STRING, "A B": INTEGER, "x.y": STRING, "é/~": STRING, "": STRING}),
        "struct<a b: string, A B: int64, x.y: string, é/~: string, : string>",
    ),
    "root array": ({"type": "array", "items": members(a=STRING)}, "list<item: struct<a: string>>"),
    "root enum": ({"enum": ["x", "y"]}, "large_string"),
    "root integer": (INTEGER, "int64"),
    "root union": ({"anyOf": [STRING, INTEGER]}, "string"),
    "root map": ({"type": "object", "additionalProperties": STRING}, "string"),
    "pydantic model": (
        Person.model_json_schema(),
        "struct<name: string, born: string, level: string, mood: string, "
        "addresses: list<item: struct<street: string, zip: string>>, height: double, "
        "scores: string, extra: string>",
    ),
    "recursive pydantic model": (
        Node.model_json_schema(),
        "struct<value: int64, children: list<item: string>>",
    ),
}


@pytest.mark.parametrize(("schema", "expected"), NAMED.values(), ids=list(NAMED))
def test_a_schema_gets_its_arrow_type(schema: dict[str, Any], expected: str) -> None:
    """The type that holds every answer unchanged."""
    assert str(arrow_type(schema)[0]) == expected


def json_members(kind: pa.DataType) -> list[str]:
    """The names of a type's members that are JSON text, `item` for those of a list."""
    fields = list(kind) if pa.types.is_struct(kind) else [kind.value_field] if pa.types.is_list(kind) else []
    return [name for field in fields for name in ([field.name] if mark(field) else json_members(field.type))]


@pytest.mark.parametrize(
    ("name", "at", "sentence"),
    [
        ("flat", [], None),
        ("root enum", [], None),
        ("free-form map", ["a"], "`parsed` keeps as JSON strings: parsed.a (a map with free keys)."),
        ("union of kinds", ["a"], "`parsed` keeps as JSON strings: parsed.a (a union of different kinds)."),
        (
            "integer or number",
            ["a"],
            "`parsed` keeps as JSON strings: parsed.a (a union of different kinds).",
        ),
        (
            "recursive",
            ["item"],
            "`parsed` keeps as JSON strings: parsed.kids[].kids[] (a schema that contains itself).",
        ),
        ("root map", [], "`parsed` is a JSON string, because the schema is a map with free keys."),
        (
            "pydantic model",
            ["scores", "extra"],
            "`parsed` keeps as JSON strings: parsed.scores (a map with free keys), parsed.extra (a union of "
            "different kinds).",
        ),
    ],
)
def test_what_stays_json_text_is_said_and_marked(name: str, at: list[str], sentence: str | None) -> None:
    """Said at plan time; the mark in the type tells JSON text from text."""
    kind, said = arrow_type(NAMED[name][0])
    assert said == sentence
    assert json_members(kind) == at


def test_a_schema_that_spells_more_than_memory_holds_is_cut() -> None:
    """Twenty definitions, each with the next one twice, are a million members."""
    definitions = {
        f"d{n}": members(a={"$ref": f"#/$defs/d{n + 1}"}, b={"$ref": f"#/$defs/d{n + 1}"}) for n in range(18)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**definitions, "d18": STRING}}
    kind, said = arrow_type(schema)
    assert said is not None
    assert "more than 2,000 members" in said
    assert len(str(kind)) < 200_000


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (members(a=INTEGER, b=STRING), {"a": "5", "b": "x"}, {"a": None, "b": "x"}),
        (members(a=INTEGER), {"a": True}, {"a": None}),
        (members(a=INTEGER), {"a": 2**63}, {"a": None}),
        (members(a=INTEGER), {"a": 3.0}, {"a": 3}),
        (members(a=INTEGER), {"a": 3.5}, {"a": None}),
        (members(a={"type": "number"}), {"a": 10**400}, {"a": None}),
        (members(a=STRING), {"a": 5}, {"a": None}),
        (members(a=STRING), {"a": "\ud800"}, {"a": "\ufffd"}),
        (members(a={"type": "boolean"}), {"a": 1}, {"a": None}),
        (members(a={"type": "array", "items": INTEGER}), {"a": {"x": 1}}, {"a": None}),
        (members(a={"type": "array", "items": INTEGER}), {"a": [1, None, "x"]}, {"a": [1, None, None]}),
        (members(a=STRING), [1], None),
        (members(a=STRING), {"a": "x", "undeclared": 1}, {"a": "x"}),
        (members(a=STRING), {}, {"a": None}),
        ({"enum": ["a", "b"]}, "a", "a"),
        ({"enum": ["a", "b"]}, {"label": "a"}, None),
        ({"type": "object"}, {"a": 2**70}, '{"a":1180591620717411303424}'),
        ({"type": "object"}, "text", '"text"'),
    ],
)
def test_a_value_that_does_not_fit_is_null(schema: dict[str, Any], value: Any, expected: Any) -> None:
    """An answer to an older schema does not stop a run, and its members that fit stay."""
    wanted, _ = arrow_type(schema)
    column = arrow_array([value, None], wanted)
    assert column.type == wanted
    assert column.to_pylist() == [expected, None]


# --- any schema, any answer -----------------------------------------------------------------------

_INT64 = st.integers(-(2**63), 2**63 - 1)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXTS, inner, max_size=2),
    max_leaves=4,
)
Case = tuple[dict[str, Any], st.SearchStrategy[Any]]
"""A schema, and the instances it is tried with."""

_SCALARS: list[Case] = [
    (STRING, _TEXTS),
    (INTEGER, _INT64),
    ({"type": "number"}, _NUMBERS),
    ({"type": "boolean"}, st.booleans()),
    ({"enum": ["a", "b"]}, st.sampled_from(["a", "b"])),
    ({"enum": ["a", 1, None]}, st.sampled_from(["a", 1, None])),
    ({"type": "string", "format": "date"}, st.dates().map(str)),
    ({"type": "integer", "minimum": 2**64}, st.integers(2**64)),
    ({"anyOf": [INTEGER, {"type": "number"}]}, st.integers() | _NUMBERS),
    ({}, _ANYTHING),
    (
        {"type": "object", "additionalProperties": INTEGER},
        st.dictionaries(_TEXTS, st.integers(), max_size=2),
    ),
]


def _array(case: Case) -> Case:
    return {"type": "array", "items": case[0]}, st.lists(case[1], max_size=3)


def _nullable(case: Case) -> Case:
    return {"anyOf": [case[0], {"type": "null"}]}, st.none() | case[1]


def _union(cases: list[Case]) -> Case:
    return {"anyOf": [schema for schema, _ in cases]}, st.one_of([instances for _, instances in cases])


def _object(cases: dict[str, tuple[Case, bool]]) -> Case:
    required = {name: case[1] for name, (case, needed) in cases.items() if needed}
    optional = {name: case[1] for name, (case, needed) in cases.items() if not needed}
    schema = {
        "type": "object",
        "properties": {name: case[0] for name, (case, _) in cases.items()},
        "required": list(required),
        "additionalProperties": False,
    }
    return schema, st.fixed_dictionaries(required, optional=optional)


def _larger(cases: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    named = st.dictionaries(_TEXTS, st.tuples(cases, st.booleans()), max_size=4)
    unions = st.lists(cases, min_size=2, max_size=3).map(_union)
    return cases.map(_array) | cases.map(_nullable) | named.map(_object) | unions


_CASES = st.recursive(st.sampled_from(_SCALARS), _larger, max_leaves=8)


def present(value: Any) -> Any:
    """`value` without the members that are null: a struct does not tell them from missing ones."""
    if isinstance(value, dict):
        return {name: present(item) for name, item in value.items() if item is not None}
    return [present(item) for item in value] if isinstance(value, list) else value


def python_value(value: Any, field: pa.Field) -> Any:
    """A value that Arrow gave back, with JSON text read where the field is marked."""
    if value is None:
        return None
    if mark(field):
        return codec.loads(value.encode())
    if pa.types.is_struct(field.type):
        return {member.name: python_value(value[member.name], member) for member in field.type}
    if pa.types.is_list(field.type):
        return [python_value(item, field.type.value_field) for item in value]
    return value


@settings(max_examples=150, deadline=None)
@given(_CASES, st.data())
def test_any_answer_comes_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, case: Case, data: st.DataObject
) -> None:
    """Completion, parsed, Arrow, Parquet, Python: equal at every place, but that null members are missing.

    `number` is tried with doubles, `integer` without bounds with 64 bits: beyond them is documented loss.
    """
    schema, instances = case
    values = data.draw(st.lists(instances, min_size=1, max_size=3))
    reader = AnswerSchema(schema)
    read = [reader.read(codec.dumps(value).decode()) for value in values]
    parsed = [found.value for found in read if isinstance(found, Parsed)]
    assert [present(value) for value in parsed] == [present(value) for value in values]
    kind, said = arrow_type(schema)
    path = Path(tmp_path_factory.getbasetemp() / "parsed.parquet")
    pq.write_table(pa.table({"parsed": arrow_array(parsed, kind)}), path)
    column = pq.read_table(path)["parsed"]
    assert column.type == kind
    root = pa.field("parsed", kind, metadata={"input_type": "json"} if kind == pa.string() else None)
    back = [python_value(value, root) for value in column.to_pylist()]
    assert [present(value) for value in back] == [present(value) for value in values]
    assert (said is not None) == (bool(json_members(kind)) or kind == pa.string())


def test_a_type_is_alike_when_it_comes_back_from_a_file(tmp_path: Path) -> None:
    """Which calls the items of lists otherwise; text and JSON text are told apart in it."""
    union = {"anyOf": [INTEGER, STRING]}
    kinds = [
        arrow_type(members(one=item, many={"type": "array", "items": item}))[0] for item in (STRING, union)
    ]
    fields = [pa.field("parsed", kind) for kind in [*kinds, pa.string(), pa.large_string()]]
    for ours in fields:
        pq.write_table(pa.schema([ours]).empty_table(), tmp_path / "a.parquet")
        read = pq.read_schema(tmp_path / "a.parquet").field("parsed")
        assert [alike(read, field) for field in fields] == [field is ours for field in fields]
