"""The rows of several runs in one table, with every value as it is in its run."""

from __future__ import annotations

import datetime
from typing import Any

import polars as pl
import pytest

from batchrun.errors import UsageError
from batchrun.run_folder.results.several import together

DAY = datetime.date(2024, 1, 1)


def runs(*columns: pl.Series) -> list[tuple[str, pl.LazyFrame]]:
    """Runs called a, b, … of one column x each."""
    return [(name, pl.LazyFrame({"x": column})) for name, column in zip("abc", columns, strict=False)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (pl.Series([2**53 + 1]), pl.Series([2**31 - 1], dtype=pl.Int32)),
        (pl.Series([2**31 - 1], dtype=pl.Int32), pl.Series([0.5])),
        (pl.Series([0.5], dtype=pl.Float32), pl.Series([1e300])),
        (pl.Series([None]), pl.Series([DAY])),
        (pl.Series(["u"], dtype=pl.Categorical), pl.Series(["v"])),
        (pl.Series([[1]], dtype=pl.List(pl.Int8)), pl.Series([[2**40]])),
    ],
)
def test_types_are_widened_where_that_is_exact(a: pl.Series, b: pl.Series) -> None:
    """Each value is there as it was."""
    found = together(runs(a, b)).collect()
    assert found["x"].to_list() == [*a.to_list(), *b.to_list()]
    assert found["run"].to_list() == ["a", "b"]


def test_members_that_a_run_lacks_are_null() -> None:
    """As columns are: runs of two schemas have other members of `parsed`."""
    found = together(runs(pl.Series([{"u": 1, "v": {"w": [1]}}]), pl.Series([{"u": 2, "v": {"z": "t"}}])))
    assert found.collect()["x"].to_list() == [
        {"u": 1, "v": {"w": [1], "z": None}},
        {"u": 2, "v": {"w": None, "z": "t"}},
    ]
    lacking = [("a", pl.LazyFrame({"x": [1]})), ("b", pl.LazyFrame({"y": [2]}))]
    assert together(lacking).collect().rows() == [(1, "a", None), (None, "b", 2)]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[2**53 + 1], [1.5]], "column 'x' is Int64 in a, but Float64 in b"),
        ([[5], ["s"]], "column 'x' is Int64 in a, but String in b"),
        ([[5], [True]], "column 'x' is Int64 in a, but Boolean in b"),
        ([[DAY], [1.5]], "column 'x' is Date in a, but Float64 in b"),
        ([[None], [5], [1.5]], "column 'x' is Int64 in b, but Float64 in c"),
        ([[{"u": [1]}], [{"u": ["s"]}]], "column 'x.u' is Int64 in a, but String in b"),
        ([["s"], [{"u": 1}]], "column 'x' is String in a, but Struct({'u': Int64}) in b"),
    ],
)
def test_a_type_that_would_change_values_is_refused(values: list[list[Any]], said: str) -> None:
    """The message names the column, its types and their runs."""
    with pytest.raises(UsageError) as caught:
        together(runs(*(pl.Series(column) for column in values)))
    assert caught.value.message.startswith(said)
    assert "cast that column" in (caught.value.hint or "")


def test_enums_of_other_words_are_refused() -> None:
    """Polars has no type for both."""
    words = [pl.Series([word], dtype=pl.Enum([word])) for word in "uv"]
    with pytest.raises(UsageError, match="no type holds both exactly"):
        together(runs(*words))


def test_an_input_column_called_run_keeps_its_values() -> None:
    """It is called as other input columns are that have the name of one of ours."""
    rows = pl.LazyFrame({"run": ["mine"], "input_run": [1]})
    found = together([("a", rows), ("b", rows)]).collect()
    assert found.columns == ["input_run", "input_input_run", "run"]
    assert found.rows() == [("mine", 1, "a"), ("mine", 1, "b")]
