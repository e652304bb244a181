"""Column types hold every value that was seen exactly, or hold its JSON text."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.errors import InputError
from batchrun.source import Batch, ColumnTypes, Row, column_types
from batchrun.source.overrides import mark
from tests.source.reading import read_table, write


def batch(*values: dict[str, Any]) -> Batch:
    return Batch([Row(at, value, f"t.jsonl:{at + 1}") for at, value in enumerate(values)])


def table(*values: dict[str, Any]) -> pa.Table:
    """Each value in a batch of its own, under the types of them all."""
    types = ColumnTypes()
    for value in values:
        types.observe(batch(value))
    assert types.schema().equals(_schema_of_one_batch(values), check_metadata=True)
    return pa.concat_tables(batch(value).arrow(types.schema()) for value in values)


def _schema_of_one_batch(values: tuple[dict[str, Any], ...]) -> pa.Schema:
    types = ColumnTypes()
    types.observe(batch(*values))
    return types.schema()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, None, False], "bool"),
        ([1, None, -(2**63), 2**63 - 1], "int64"),
        ([0.5, None, -0.0], "double"),
        ([1, 0.5], "double"),
        ([0.5, 2**53, -(2**53)], "double"),
        (["a", None, ""], "string"),
        ([None, None], "string"),
        ([[1], [], None, [None, 2]], "list<item: int64>"),
        ([[1], [0.5]], "list<item: double>"),
        ([[["a"]], [[]]], "list<item: list<item: string>>"),
        ([{"x": 1}, {"x": None}, None], "struct<x: int64>"),
        ([[{"x": {"y": ["a"]}}], None], "list<item: struct<x: struct<y: list<item: string>>>>"),
    ],
)
def test_values_of_one_kind_keep_their_type(values: list[Any], kind: str) -> None:
    """A column of one kind has that type and holds every value exactly; ints widen only within 2^53."""
    found = table(*({"a": value} for value in values))
    assert kind == str(found.schema.field("a").type)
    assert mark(found.schema.field("a")) is None
    assert values == found["a"].to_pylist()


def test_a_key_that_a_struct_lacks_is_null() -> None:
    """A late key, at the top or inside a struct, is null before it appears."""
    found = table({"a": {}}, {"a": {"x": 1}}, {"b": 2, "a": {"y": "z"}}, {})
    assert found.schema.names == ["a", "b"]
    assert found.to_pylist() == [
        {"a": {"x": None, "y": None}, "b": None},
        {"a": {"x": 1, "y": None}, "b": None},
        {"a": {"x": None, "y": "z"}, "b": 2},
        {"a": None, "b": None},
    ]


@pytest.mark.parametrize(
    "values",
    [
        [1, "a", None],
        [True, 1],
        ["1", ["1"], {"x": 1}],
        [2**63, 1],
        [-(2**63) - 1],
        [0.5, 2**53 + 1],
        [{}, None, {}],
        [[], []],
        [[None], []],
        [{"x": 1}, []],
        ["a\ud800", 1],
        [{"x\ud800": 1}],
    ],
    ids=repr,
)
def test_what_no_type_holds_becomes_json_text(values: list[Any]) -> None:
    """Each value is spelled as JSON, a plain string in quotes, so that reading it gives the value back."""
    found = table(*({"a": value} for value in values))
    assert found.schema.field("a").type == pa.string()
    assert mark(found.schema.field("a")) == "json"
    texts = found["a"].to_pylist()
    assert repr(values) == repr([None if text is None else json.loads(text) for text in texts])


def test_json_text_stands_as_deep_as_it_must() -> None:
    """Only the place whose values differ becomes text; what is around it keeps its type."""
    found = table({"a": [{"x": 1, "y": 1}]}, {"a": [{"x": 2, "y": "é"}, None]}, {"a": [{"x": 3}]})
    assert str(found.schema.field("a").type) == "list<item: struct<x: int64, y: string>>"
    assert found["a"].to_pylist() == [
        [{"x": 1, "y": "1"}],
        [{"x": 2, "y": '"é"'}, None],
        [{"x": 3, "y": None}],
    ]


def test_nan_and_null_stay_apart_in_json_text() -> None:
    """NaN is not written as null, neither alone nor inside an object."""
    texts = table({"a": math.nan}, {"a": "x"}, {"a": {"n": math.nan, "é": None}})["a"].to_pylist()
    assert texts == ["NaN", '"x"', '{"n":NaN,"é":null}']


def test_floats_keep_nan_and_infinity() -> None:
    """A float column holds NaN as a value, not as null."""
    values = table({"a": math.nan}, {"a": math.inf}, {"a": None})["a"]
    assert values.null_count == 1
    assert math.isnan(values[0].as_py())


def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    """UTF-8 has no lone surrogates: text columns show U+FFFD, nested ones too, and nothing else changes."""
    found = table({"a": "x\ud800😀", "b": [{"c": "\udfff"}]}, {"a": "é", "b": None})
    assert found.to_pylist() == [{"a": "x\ufffd😀", "b": [{"c": "\ufffd"}]}, {"a": "é", "b": None}]


def test_a_bad_row_is_a_null_row(tmp_path: Path) -> None:
    """A row with an error stands in the table, as nulls, so that positions agree."""
    found = read_table(write(tmp_path / "t.jsonl", b'{"a":1,"b":["x"]}\nbad\n{"a":2}\n'))
    assert found.to_pylist() == [{"a": 1, "b": ["x"]}, {"a": None, "b": None}, {"a": 2, "b": None}]


def test_a_struct_of_too_many_keys_becomes_json_text() -> None:
    """Keys that are data do not become a thousand fields."""
    values = [{"a": {"scores": {str(at): at}}} for at in range(column_types.MAX_KEYS + 1)]
    found = table(values[0], *values)
    assert str(found.schema.field("a").type) == "struct<scores: string>"
    assert found["a"].to_pylist()[-1] == {"scores": '{"1000":1000}'}


@pytest.mark.parametrize(("levels", "text"), [(19, False), (20, False), (21, True), (199, True)])
def test_too_deep_a_value_becomes_json_text(levels: int, text: bool) -> None:
    """Types nest to twenty levels; what lies deeper is text, with no level lost."""
    value: Any = 7
    for _ in range(levels):
        value = [value]
    found = table({"a": value})["a"].to_pylist()[0]
    assert text == ("[[" in repr(found) and "'" in repr(found))
    assert repr(value) == repr(found).replace("'", "")


def test_all_structs_together_are_bounded() -> None:
    """Many wide columns cannot fill the memory: past the bound, structs become text."""
    types = ColumnTypes()
    types.observe(batch({f"c{at}": {f"k{key}": 1 for key in range(900)} for at in range(30)}))
    kinds = [pa.types.is_struct(field.type) for field in types.schema()]
    assert kinds == [True] * 22 + [False] * 8


def test_too_many_columns_are_refused() -> None:
    """Ten thousand different keys at the top are data, and the message says where to put them."""
    with pytest.raises(InputError, match="more than 10,000 different keys") as caught:
        ColumnTypes().observe(batch({str(at): at for at in range(10_001)}))
    assert caught.value.hint


def test_a_schema_survives_storage() -> None:
    """A schema that was stored and read again converts the same way: its marks are in its metadata."""
    types = ColumnTypes()
    rows = batch({"a": 1, "b": [{"c": {}}]}, {"a": "x"})
    types.observe(rows)
    stored = pa.ipc.read_schema(types.schema().serialize())
    assert rows.arrow(stored).equals(rows.arrow(types.schema()))
    assert rows.arrow(stored)["a"].to_pylist() == ["1", '"x"']


def test_columns_that_were_left_out_are_no_nulls() -> None:
    """Asking for a column that was not read is a mistake of the caller, not a column of nulls."""
    left = Batch([Row(0, {"a": 1}, "t.jsonl:1")], ["a"])
    with pytest.raises(ValueError, match="read without the columns"):
        left.arrow(pa.schema([("a", pa.int64()), ("b", pa.int64())]))


def test_no_columns_still_have_rows() -> None:
    """Rows of empty objects are counted under a schema of no columns."""
    assert batch({}, {}).arrow(pa.schema([])).num_rows == 2


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64])
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.sampled_from(["\ud800", "null", "NaN"])
)
KEYS = st.sampled_from(["a", "b", "", "é", "a\0"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=120, deadline=None)
@given(rows=st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=6))
def test_no_value_changes_on_its_way_into_arrow(rows: list[dict[str, Any]]) -> None:
    """Reading the Arrow table back gives every value again, except keys that are null for absent."""
    found = table(*rows)
    for at, row in enumerate(rows):
        for field in found.schema:
            assert_same(row.get(field.name), found[field.name][at].as_py(), field)


def assert_same(value: Any, stored: Any, field: pa.Field) -> None:
    if value is None or stored is None:
        assert value is stored is None
    elif mark(field):
        assert repr(value) == repr(json.loads(stored))
    elif pa.types.is_list(field.type):
        for one, other in zip(value, stored, strict=True):
            assert_same(one, other, field.type.value_field)
    elif pa.types.is_struct(field.type):
        assert value.keys() <= stored.keys()
        for member in field.type:
            assert_same(value.get(member.name), stored[member.name], member)
    elif pa.types.is_floating(field.type):
        assert (float(value), value) == (stored, stored)
        assert not isinstance(value, bool)
    else:
        expected = value.encode(errors="replace").decode() if value == "\ud800" else value
        assert repr(expected).replace("?", "\ufffd") == repr(stored).replace("?", "\ufffd")


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=4))
def test_no_value_changes_from_a_file_into_arrow(rows: list[dict[str, Any]]) -> None:
    """The same holds from the file on."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "t.jsonl", "\n".join(map(json.dumps, rows)).encode())
        found = read_table(path)
    for at, row in enumerate(rows):
        for field in found.schema:
            assert_same(row.get(field.name), found[field.name][at].as_py(), field)
