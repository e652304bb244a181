"""`input.types` gives a column the type the job asks for, or names the value that does not fit."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from batchrun.errors import InputError
from batchrun.source import ColumnTypes, missing_column
from tests.source.reading import read_table, write


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("int64", [1, "2", "-03", 4.0, None], [1, 2, -3, 4, None]),
        ("float64", [1, "2.5", "-1e3", 0.25, 2**53], [1.0, 2.5, -1000.0, 0.25, 9007199254740992.0]),
        ("bool", [True, "false", "True", None], [True, False, True, None]),
        ("string", ["a", 1, 1.5, True, None, [1, "é"]], ["a", "1", "1.5", "true", None, '[1,"é"]']),
        ("json", ["a", 1, None, {"x": None}], ['"a"', "1", None, '{"x":null}']),
        ("date", ["2026-03-31", None], [date(2026, 3, 31), None]),
        (
            "timestamp",
            ["2026-03-31T12:00:00+02:00", "2026-03-31T10:00:00.123456Z", "2026-03-31 10:00", None],
            [
                datetime(2026, 3, 31, 10, tzinfo=UTC),
                datetime(2026, 3, 31, 10, 0, 0, 123456, tzinfo=UTC),
                datetime(2026, 3, 31, 10, tzinfo=UTC),
                None,
            ],
        ),
    ],
)
def test_values_that_fit(tmp_path: Path, kind: str, values: list[Any], expected: list[Any]) -> None:
    """A value is taken where it is the same thing in the other type."""
    lines = "\n".join(json.dumps({"a": value}) for value in values)
    found = read_table(write(tmp_path / "t.jsonl", lines.encode()), {"a": kind})
    assert expected == found["a"].to_pylist()


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("int64", "1.5", "which is no integer"),
        ("int64", 1.5, "which is no integer"),
        ("int64", True, "which is no integer"),
        ("int64", "", "which is no integer"),
        ("int64", "1_000", "which is no integer"),
        ("int64", 2**63, "which is beyond 64 bits"),
        ("int64", "9223372036854775808", "which is beyond 64 bits"),
        ("int64", 1e300, "which is no integer"),
        ("int64", [1], "which is no integer"),
        ("float64", "1,5", "which is no number"),
        ("float64", False, "which is no number"),
        ("float64", 2**53 + 1, "which float64 would round"),
        ("bool", 1, "which is neither true nor false"),
        ("bool", "yes", "which is neither true nor false"),
        ("date", "31.03.2026", "which is no ISO 8601 date"),
        ("date", 20260331, "which is no ISO 8601 date"),
        ("timestamp", "noon", "which is no ISO 8601 timestamp"),
        ("timestamp", 1774958400, "which is no ISO 8601 timestamp"),
        ("timestamp", "2026-03-31T12:00:00.1234567Z", "digits beyond microseconds"),
        ("timestamp", "0001-01-01T00:00:00+14:00", "which is no ISO 8601 timestamp"),
    ],
)
def test_values_that_do_not_fit(tmp_path: Path, kind: str, value: Any, reason: str) -> None:
    """The first pass over the input refuses the value, naming line, column, value and setting."""
    path = write(tmp_path / "t.jsonl", b'{"a":null}\n\n' + json.dumps({"a": value}).encode())
    with pytest.raises(InputError, match=reason) as caught:
        read_table(path, {"a": kind})
    assert "t.jsonl:3: column 'a' holds" in str(caught.value)
    assert f"input.types.a (now {kind})" in str(caught.value)


def test_csv_columns_take_types_too(tmp_path: Path) -> None:
    """A CSV column, a string by itself, can be asked to be a number."""
    found = read_table(write(tmp_path / "t.csv", b"a,b\n1,x\n,y\n"), {"a": "int64"})
    assert found.to_pylist() == [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]


def test_an_unknown_type_is_refused() -> None:
    """The message lists the types and the nearest one."""
    with pytest.raises(InputError, match=r"input\.types\.a: unknown type 'int'.*int64, float64") as caught:
        ColumnTypes(None, {"a": "int"})
    assert caught.value.hint == "did you mean int64?"


def test_a_type_for_a_missing_column_is_refused(tmp_path: Path) -> None:
    """A type for a column that no row has is a slip, told when the whole input was seen."""
    with pytest.raises(InputError, match=r"input\.types: the input has no column 'stras'") as caught:
        read_table(write(tmp_path / "t.jsonl", b'{"stars":1}\n'), {"stras": "int64"})
    assert caught.value.hint == "did you mean stars?"


def test_a_missing_column_lists_what_there_is() -> None:
    """At most twenty names are listed."""
    error = missing_column("id", [f"c{at}" for at in range(30)], "input.id")
    assert "input.id: the input has no column 'id'; it has c0, c1" in error.message
    assert error.message.endswith("c19, …")
