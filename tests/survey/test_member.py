"""Values by their dotted path, and as the texts by which they are compared."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.diff.as_text import spelled, text_of, text_of_json
from batchrun.diff.in_json import kinds_of, out_of_json
from batchrun.show.member import find, splits

ROWS = pl.DataFrame(
    {
        "a": [{"b": {"c": 1, "x.y": 2}, "^c$": {"*": 3}}],
        "a.b": [{"c": 4}],
        "*": [5],
        "text": ['{"k": {"l": [1]}, "k.l": "near"}'],
    }
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b.c", 4),  # the column a.b, being the longer name
        ("a.^c$.*", 3),
        ("*", 5),
        ("a.b", {"c": 4}),
        ("text", ROWS["text"][0]),
    ],
)
def test_a_path_leads_through_columns_and_members(path: str, value: Any) -> None:
    """Names may hold dots, and be spelled as polars spells patterns."""
    assert ROWS.select(find(path, ROWS.schema, option="field", run="a").value).item() == value


def test_a_member_may_have_dots_in_its_name() -> None:
    """Where no shorter way leads on."""
    rows = ROWS.select("a")
    assert rows.select(find("a.b.x.y", rows.schema, option="field", run="a").value).item() == 2


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.text("ab.", max_size=4), min_size=1).map(".".join))
def test_every_split_puts_the_path_together_again(path: str) -> None:
    """The whole path first, its first name last."""
    found = list(splits(path))
    assert found[0] == (path, "")
    assert all(path in (name, f"{name}.{rest}") for name, rest in found)
    assert len(found) == path.count(".") + 1


JSON = {"n": ["1", "2.5", "null"], "t": ['"x"', '"1"', "null"], "m": ['"x"', "1", '{"a":null,"b":1.0}']}


@pytest.mark.parametrize(
    ("key", "kinds", "values"),
    [
        ("n", {"number"}, [1.0, 2.5, None]),
        ("t", {"text"}, ["x", "1", None]),
        ("m", {"text", "number", "other"}, ["x", "1", '{"b":1}']),
        ("b", {"bool"}, [True, False, None]),
        ("none", set(), [None, None, None]),
    ],
)
def test_json_text_is_read_as_what_it_holds(key: str, kinds: set[str], values: list[Any]) -> None:
    """Numbers, bools and texts with their type; of several kinds, texts."""
    members = [
        ", ".join(
            f'"{name}": {texts[place]}' for name, texts in {**JSON, "b": ["true", "false", "null"]}.items()
        )
        for place in range(3)
    ]
    rows = pl.DataFrame({"text": [*(f'{{"in": {{{text}}}}}' for text in members), "no JSON", None, '["in"]']})
    found = find(f"text.in.{key}", rows.schema, option="field", run="a")
    assert kinds_of(rows["text"], found.rest) == kinds
    read = rows.select(out_of_json(found, kinds).value).to_series()
    assert read.to_list() == [*values, None, None, None]
    assert read.dtype == out_of_json(found, kinds).kind


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pl.Series(["", " x ", None]), ["", " x ", None]),
        (pl.Series([True, False, None]), ["true", "false", None]),
        (pl.Series([3, -1, None]), ["3", "-1", None]),
        (pl.Series([3.0, -0.0, 2.5, 1e300, None]), ["3", "0", "2.5", "1e+300", None]),
        (pl.Series([float("nan"), float("inf")]), ["NaN", "Infinity"]),
        (pl.Series(["b", None], dtype=pl.Categorical), ["b", None]),
        (pl.Series([Decimal("1.10")]), ["1.10"]),
        (pl.Series([date(2026, 1, 2)]), ["2026-01-02"]),
        (pl.Series([timedelta(seconds=1)]), ["0:00:01"]),
        (pl.Series([b"\xff"]), ["/w=="]),
        (pl.Series([["b", None], None]), ['["b",null]', None]),
        (pl.Series([{"b": 1.0, "a": {"c": None, "d": [2.0]}}, None]), ['{"a":{"d":[2]},"b":1}', None]),
        (pl.Series([None, None]), [None, None]),
    ],
)
def test_values_are_compared_as_texts(values: pl.Series, texts: list[str | None]) -> None:
    """Equal values of any type have equal texts, whatever column they come from."""
    rows = values.alias("v").to_frame()
    assert rows.select(text_of(pl.col("v"), values.dtype)).to_series().to_list() == texts


def test_times_are_texts() -> None:
    """With their zone."""
    rows = pl.DataFrame({"v": [datetime(2026, 1, 2, 3, 4, tzinfo=UTC)]})
    (text,) = rows.select(text_of(pl.col("v"), rows.schema["v"])).to_series()
    assert text.startswith("2026-01-02 03:04:00")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)  # the machine may be busy
@given(VALUES)
def test_json_text_is_compared_by_what_it_holds(value: Any) -> None:
    """However its keys are ordered and its spaces set."""
    import json

    turned = dict(reversed(value.items())) if isinstance(value, dict) else value
    texts = pl.DataFrame({"v": [json.dumps(value), json.dumps(turned, indent=2)]}, schema={"v": pl.String})
    found = texts.select(text_of_json(pl.col("v"))).to_series().to_list()
    assert found == [spelled(value)] * 2
