"""Predicates: SQL over columns, with SQL's nulls, whatever a batch of rows happens to hold."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.predicate import Predicate, PredicateError, Types, declared_types

ROWS: list[dict[str, Any]] = [
    {"lang": "en", "stars": 1, "text": "late again"},
    {"lang": "de", "stars": 2.5, "text": None},
    {"lang": None, "stars": None, "text": "\ud800 late"},
    {"stars": math.nan},
    {},
]


@pytest.mark.parametrize(
    ("sql", "chosen"),
    [
        ("lang = 'en'", [0]),
        ("lang <> 'en'", [1]),
        ("NOT lang = 'en'", [1]),
        ("lang IS NULL", [2, 3, 4]),
        ("lang = NULL", []),
        ("stars < 3", [0, 1]),
        ("stars = 1", [0]),
        ("stars = 1.0", [0]),
        ("stars < 3 OR lang IS NULL", [0, 1, 2, 3, 4]),
        ("lang = 'en' AND stars < 3", [0]),
        ("stars BETWEEN 1 AND 2", [0]),
        ("lang IN ('en', 'de')", [0, 1]),
        ("lang NOT IN ('en')", [1]),
        ("COALESCE(lang, 'xx') = 'xx'", [2, 3, 4]),
        ("text LIKE '%late%'", [0, 2]),
        ("LENGTH(text) = 10", [0]),
        ("absent = 'x'", []),
        ("absent IS NULL", [0, 1, 2, 3, 4]),
        ("absent LIKE 'x%'", []),
        ("absent LIKE 'x%' OR LENGTH(other) > 1 OR third < 3 OR stars = 1", [0]),
        ("1 = 1", [0, 1, 2, 3, 4]),
        ("1 = 2", []),
        ("NULL", []),
    ],
)
def test_rows_are_chosen_where_the_condition_is_true(sql: str, chosen: list[int]) -> None:
    """Not where it is null; a missing column is null; integers and floats mix; text may hold anything."""
    found = Predicate(sql).choose(ROWS)
    assert [at for at, yes in enumerate(found) if yes] == chosen
    assert {type(yes) for yes in found} == {bool}


@pytest.mark.parametrize("sql", ["lang = 'en'", "1 = 1", "text LIKE 'a%'"])
@pytest.mark.parametrize("rows", [[], [{}], [{}, {}]])
def test_the_answer_has_one_item_a_row_however_few_there_are(sql: str, rows: list[dict[str, Any]]) -> None:
    """A batch may hold one bad row and nothing else."""
    assert len(Predicate(sql).choose(rows)) == len(rows)


@pytest.mark.parametrize("sql", ["text LIKE 'a%'", "LOWER(text) = 'ab'", "LENGTH(text) = 2 AND stars < 3"])
def test_where_the_batches_are_cut_changes_nothing(sql: str) -> None:
    """A column that is null throughout one batch still has the type of the others."""
    rows: list[dict[str, Any]] = [
        {"text": None, "stars": None},
        {"text": "ab", "stars": 1},
        {"text": None, "stars": 2},
    ]
    predicate = Predicate(sql)
    one_by_one = [predicate.choose([row])[0] for row in rows]
    assert predicate.choose(rows) == one_by_one


def member(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A struct in which members may be null or missing, itself null at times."""
    optional = {name: st.none() | value for name, value in members.items()}
    return st.none() | st.fixed_dictionaries({}, optional=optional)


NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, 1.5, 2.0])
TEXTS = st.sampled_from(["en", "de", "x\ud800", ""])
JSON_ROWS = st.fixed_dictionaries(
    {},
    optional={
        "text": st.none() | TEXTS,
        "score": st.none() | NUMBERS,
        "tags": st.none() | st.lists(TEXTS, max_size=2),
        "meta": member(
            lang=TEXTS,
            n=NUMBERS,
            tags=st.lists(NUMBERS, max_size=2),
            inner=member(lang=TEXTS, score=NUMBERS),
            odd=TEXTS | st.integers(),
        ),
    },
)
CONDITIONS = [
    "meta.lang = 'en'",
    "meta.lang LIKE 'e%' OR meta.n < 2",
    "meta.inner.lang IS NULL AND ROUND(meta.inner.score) = 2",
    "ARRAY_LENGTH(tags) > 1",
    "ARRAY_LENGTH(meta.tags) = 1 OR tags[1] LIKE 'e%'",
    "ROUND(score) = 2 OR ABS(meta.n) = 1",
    "LOWER(text) LIKE 'e%' OR LENGTH(meta.inner.lang) = 2 OR ARRAY_LENGTH(tags) = 2 OR ABS(score) = 1",
    "COALESCE(meta.lang, text, 'none') = 'none'",
    "CAST(score AS DOUBLE) + meta.n > 1",
    "text IN ('en', 'de') AND NOT meta.n = 1.5",
]


@settings(max_examples=30)
@given(st.lists(JSON_ROWS, max_size=6), st.sampled_from(CONDITIONS), st.data())
def test_lines_of_json_are_chosen_in_any_batches(
    rows: list[dict[str, Any]], sql: str, data: st.DataObject
) -> None:
    """By what each of them holds: however they are ordered and cut, and whatever the others lack."""
    assert_chosen_alike(Predicate(sql), rows, None, data)


TABLE = pa.schema(
    [
        ("created", pa.timestamp("ns", "Europe/Rome")),
        ("day", pa.date32()),
        ("score", pa.float32()),
        ("small", pa.uint8()),
        ("price", pa.decimal128(9, 2)),
        ("tags", pa.large_list(pa.string())),
        ("kind", pa.dictionary(pa.int8(), pa.string())),
        ("meta", pa.struct([("lang", pa.string()), ("n", pa.int32()), ("at", pa.timestamp("s"))])),
        ("map", pa.map_(pa.string(), pa.int64())),
        ("uuid", pa.uuid()),
    ]
)
TABLE_ROWS = st.fixed_dictionaries(
    {
        "created": st.none()
        | st.sampled_from([datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31T00:00:00.000000001Z"]),
        "day": st.none() | st.just(date(2026, 1, 31)),
        "score": st.none() | st.sampled_from([0.5, 1.5]),
        "small": st.none() | st.integers(0, 3),
        "price": st.none() | st.just(Decimal("1.50")),
        "tags": st.none() | st.lists(st.none() | st.just("a"), max_size=2),
        "kind": st.none() | st.just("a"),
        "meta": st.none()
        | st.fixed_dictionaries(
            {
                "lang": st.none() | st.just("en"),
                "n": st.none() | st.integers(0, 2),
                "at": st.none() | st.just(datetime(2026, 1, 31)),
            }
        ),
        "map": st.none() | st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2),
        "uuid": st.none() | st.just(UUID(int=1)),
    }
)


@settings(max_examples=30)
@given(
    st.lists(TABLE_ROWS, max_size=6),
    st.sampled_from(
        [
            "meta.lang = 'en' OR EXTRACT(YEAR FROM meta.at) = 2026",
            "EXTRACT(MONTH FROM created) = 1 AND EXTRACT(DAY FROM day) = 31",
            "ROUND(score) = 2 OR small - 2 < 0",
            "price < 2 AND ARRAY_LENGTH(tags) > 0",
            "kind LIKE 'a%' OR tags[1] LIKE 'a%'",
            "map.a = 1",
            "uuid IS NOT NULL",
        ]
    ),
    st.data(),
)
def test_rows_of_a_table_are_chosen_in_any_batches(
    rows: list[dict[str, Any]], sql: str, data: st.DataObject
) -> None:
    """The file says what its columns are."""
    types = declared_types(TABLE, TABLE.names)
    assert set(types) == set(TABLE.names) - {"map", "uuid"}
    assert_chosen_alike(Predicate(sql), rows, types, data)


def assert_chosen_alike(
    predicate: Predicate, rows: list[dict[str, Any]], types: Types | None, data: st.DataObject
) -> None:
    """The same rows at once, one by one, and shuffled and cut somewhere."""
    chosen = predicate.choose(rows, types)
    assert chosen == [predicate.choose([row], types)[0] for row in rows]
    order = data.draw(st.permutations(range(len(rows))))
    cut = data.draw(st.integers(0, len(rows)))
    parts = [[rows[at] for at in part] for part in (order[:cut], order[cut:])]
    assert [yes for part in parts for yes in predicate.choose(part, types)] == [chosen[at] for at in order]


@pytest.mark.parametrize(
    ("sql", "cell"),
    [
        ("x = 9223372036854775808", 2**63),
        ("x < 2", Decimal("1.5")),
        ("x < CAST('2026-02-01' AS DATE)", date(2026, 1, 31)),
        ("x", True),
        ("x.a = 1", {"a": 1}),
    ],
)
def test_columns_of_any_one_kind_can_be_used(sql: str, cell: Any) -> None:
    """What JSON and Parquet hold."""
    assert Predicate(sql).choose([{"x": cell}, {"x": None}]) == [True, False]


@pytest.mark.parametrize("sql", ['"*" = 1', '"^x.*$" = 1', "COLUMNS('x') = 1"])
def test_a_name_that_stands_for_others_is_refused(sql: str) -> None:
    """Polars would look at other columns than the one that is called so."""
    with pytest.raises(PredicateError, match="stand for several columns"):
        Predicate(sql)


def test_columns_are_named_in_order() -> None:
    """Once each, as written."""
    assert Predicate("b = 1 AND a = 2 AND b < 3").columns == ("b", "a")
    assert Predicate('"my column" = 1').columns == ("my column",)


@pytest.mark.parametrize(
    "sql", ["", "lang = ", "lang == = 2", "SELECT lang FROM rows", "lang; stars", "nofunction(lang)", "*"]
)
def test_what_is_no_sql_condition_is_refused_at_once(sql: str) -> None:
    """Before any row is read, with the text."""
    with pytest.raises(PredicateError, match="is no SQL condition") as caught:
        Predicate(sql)
    assert f"`{sql}`" in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "cells", "message"),
    [
        ("x < 3", ["1"], "does not fit the rows: cannot compare string with numeric"),
        ("x < 3", [1, "2"], r"column `x` mixes kinds of values \(int, str\)"),
        ("x = 1", [True, 1], r"column `x` mixes kinds of values \(bool, int\)"),
        ("x = 1", [2**130], r"column `x` holds values that no column of polars has \(int\)"),
        ("x = 1", [Decimal(10**50)], r"column `x` holds values that no column of polars has \(Decimal\)"),
        ("x", [1], "gives Int64, not true or false"),
        ("CAST(x AS DOUBLE) < 3", ["many"], "does not fit the rows"),
    ],
)
def test_a_condition_that_does_not_fit_the_values_is_refused(
    sql: str, cells: list[Any], message: str
) -> None:
    """In one line, so that it can stand in a message."""
    with pytest.raises(PredicateError, match=message) as caught:
        Predicate(sql).choose([{"x": cell} for cell in cells])
    assert "\n" not in str(caught.value)


def test_a_data_frame_can_be_asked_too() -> None:
    """As `show --where` asks the results."""
    frame = pl.DataFrame({"status": ["ok", None, "failed"]})
    assert Predicate("status = 'failed'").choose_from(frame) == [False, False, True]
    with pytest.raises(PredicateError, match="does not fit the rows"):
        Predicate("nothing = 1").choose_from(frame)
