"""Which rows a job is about: `where`, `limit` and `sample`, over real files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchrun.errors import InputError, JobError
from batchrun.selection import Selection, content, id_text, identity
from batchrun.source import Row, open_source
from batchrun.source.rows import bad_row
from tests.job.jobs import load


def select(folder: Path, rows: Sequence[Any], **input_: Any) -> list[Row]:
    """The rows chosen of a table of these lines (a str is a line as it is)."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    job = {
        "input": {"path": "rows.jsonl", **input_},
        "prompt": {"messages": [{"role": "user", "content": "x"}]},
        "model": "simulator/a",
    }
    source = open_source("rows.jsonl", root=folder)
    selection = Selection(source, load(folder, json.dumps(job)))
    once = [row for _batch, chosen in selection.batches() for row in chosen]
    assert once == [row for _batch, chosen in selection.batches() for row in chosen], "can be read again"
    return once


def numbers(rows: list[Row]) -> list[int]:
    return [row.values["n"] for row in rows]


ROWS = [{"id": f"r{n}", "n": n, "even": n % 2 == 0} for n in range(3000)]


@pytest.mark.parametrize(
    ("input_", "chosen"),
    [
        ({}, list(range(3000))),
        ({"limit": 3}, [0, 1, 2]),
        ({"limit": 1000}, list(range(1000))),
        ({"limit": 1001}, list(range(1001))),
        ({"limit": 9999}, list(range(3000))),
        ({"where": "even AND n > 5", "limit": 3}, [6, 8, 10]),
        ({"where": "n = 2999"}, [2999]),
        ({"where": "n < 0"}, []),
        ({"where": "absent IS NULL", "limit": 2}, [0, 1]),
    ],
)
def test_limit_counts_what_where_lets_through(
    tmp_path: Path, input_: dict[str, Any], chosen: list[int]
) -> None:
    """In the input's order, over the borders of batches."""
    assert numbers(select(tmp_path, ROWS, **input_)) == chosen


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    "where", ["meta.lang = 'en'", "ROUND(meta.score) = 2", "ARRAY_LENGTH(meta.tags) = 1"]
)
def test_rows_are_chosen_wherever_a_batch_ends(tmp_path: Path, form: str, where: str) -> None:
    """A last batch of one row, whose column is null, is no reason to refuse the others."""
    full = {"lang": "en", "score": 1.6, "tags": ["a"]}
    rows = [{"n": n, "meta": full if n % 2 else None} for n in range(1001)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    job = load(tmp_path, f"input: {{path: rows.{form}, where: {json.dumps(where)}}}\n" + JOB)
    selection = Selection(open_source(f"rows.{form}", root=tmp_path), job)
    chosen = [row.values["n"] for _batch, rows in selection.batches() for row in rows]
    assert chosen == list(range(1, 1001, 2))


def test_a_limit_stops_reading(tmp_path: Path) -> None:
    """A table of any size is as quick to try."""
    rows = [*ROWS[:1500], *(["no json"] * 5000)]
    assert len(select(tmp_path, rows, limit=1000)) == 1000
    source = open_source("rows.jsonl", root=tmp_path)
    selection = Selection(source, load(tmp_path, "input: {path: rows.jsonl, limit: 10}\n" + JOB))
    assert sum(1 for _ in selection.batches()) == 1


JOB = 'prompt: {messages: [{role: user, content: "x"}]}\nmodel: simulator/a\n'


@pytest.mark.parametrize("id_", ["id", None])
def test_a_sample_has_its_size_and_is_the_same_each_time(tmp_path: Path, id_: str | None) -> None:
    """Another seed draws other rows; the rows stay in the input's order."""
    first = numbers(select(tmp_path, ROWS, id=id_, sample={"rows": 200, "seed": 1}))
    again = numbers(select(tmp_path, ROWS, id=id_, sample={"rows": 200, "seed": 1}))
    other = numbers(select(tmp_path, ROWS, id=id_, sample={"rows": 200, "seed": 2}))
    assert len(first) == 200
    assert first == again == sorted(first)
    assert len(set(first) & set(other)) < 40
    assert 800 < sum(first) / len(first) < 2200


@pytest.mark.parametrize("id_", ["id", None])
def test_rows_added_to_the_input_change_few_rows_of_a_sample(tmp_path: Path, id_: str | None) -> None:
    """At most as many leave as new ones come in; sorting changes none."""
    before = set(numbers(select(tmp_path, ROWS, id=id_, sample={"rows": 200})))
    added = [{"id": f"new{n}", "n": 10_000 + n, "even": True} for n in range(150)]
    after = set(numbers(select(tmp_path, [*added, *ROWS], id=id_, sample={"rows": 200})))
    turned = set(numbers(select(tmp_path, ROWS[::-1], id=id_, sample={"rows": 200})))
    new = {n for n in after if n >= 10_000}
    assert len(before - after) == len(new) < 30
    assert turned == before


def test_a_larger_sample_holds_the_smaller_one(tmp_path: Path) -> None:
    """So that raising the number asks only for what is new."""
    small = set(numbers(select(tmp_path, ROWS, id="id", sample={"rows": 100})))
    large = set(numbers(select(tmp_path, ROWS, id="id", sample={"rows": 300})))
    assert small < large


def test_a_sample_is_drawn_from_what_where_lets_through(tmp_path: Path) -> None:
    """And is all of it when there are not enough rows."""
    chosen = numbers(select(tmp_path, ROWS, where="n < 50", sample={"rows": 10}))
    assert len(chosen) == 10
    assert max(chosen) < 50
    assert numbers(select(tmp_path, ROWS, where="n < 5", sample={"rows": 10})) == [0, 1, 2, 3, 4]


def test_equal_rows_are_sampled_as_often_as_they_stand(tmp_path: Path) -> None:
    """Without an id nothing tells them apart, but each is a row."""
    rows = [{"n": 1}] * 5 + [{"n": 2}] * 5
    assert len(select(tmp_path, rows, sample={"rows": 7})) == 7


@pytest.mark.parametrize("input_", [{}, {"where": "n = 1"}, {"sample": {"rows": 3}}])
def test_bad_rows_are_kept(tmp_path: Path, input_: dict[str, Any]) -> None:
    """Nobody can tell what they would have held: they show as failed rows instead of vanishing."""
    rows = select(tmp_path, [{"n": 1}, "{not json", "[1]"], **input_)
    assert [row.error.type if row.error else None for row in rows] == [None, "bad_row", "bad_row"]


def test_a_condition_that_does_not_fit_names_the_rows(tmp_path: Path) -> None:
    """With what to do about it."""
    with pytest.raises(
        InputError, match=r"input.where: `n < 3` does not fit .*\(in the rows from rows.jsonl:1\)"
    ) as caught:
        select(tmp_path, [{"n": "1"}], where="n < 3")
    assert "CAST" in str(caught.value)


def test_a_condition_that_is_no_sql_is_the_jobs_error(tmp_path: Path) -> None:
    """With its place in the job file."""
    with pytest.raises(JobError, match=r"^job.yaml:1: input.where: `n <` is no SQL condition"):
        select(tmp_path, [{"n": 1}], where="n <")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("\ud800", "\ud800"),
        (7, "7"),
        (2**70, str(2**70)),
        (1.0, "1.0"),
        (True, "true"),
        (Decimal("1.50"), "1.50"),
        (date(2026, 1, 31), "2026-01-31"),
    ],
)
def test_an_id_is_text(value: object, text: str) -> None:
    """Ids compare as strings, whatever their type."""
    assert id_text(value) == text


def row(values: dict[str, Any]) -> Row:
    return Row(0, values, "rows.jsonl:1")


def test_a_row_is_named_by_its_id_or_else_by_its_content() -> None:
    """An id column that is null falls back to the content; the order of keys is of no matter."""
    assert identity(row({"id": 7, "a": 1}), "id") == identity(row({"id": "7", "a": 2}), "id")
    assert identity(row({"a": 1, "b": 2}), None) == identity(row({"b": 2, "a": 1}), None)
    assert identity(row({"a": 1}), None) != identity(row({"a": 1.0}), None)
    assert identity(row({"a": float("nan")}), None) != identity(row({"a": None}), None)
    assert identity(row({"id": None, "a": 1}), "id") == identity(row({"id": None, "a": 1}), None)
    bad = bad_row(0, "rows.jsonl:1", "no JSON", b"{x")
    assert identity(bad, "id") == identity(bad_row(5, "rows.jsonl:6", "no JSON", b"{x"), None)
    assert identity(bad, None) != identity(bad_row(0, "rows.jsonl:1", "no JSON", b"{y"), None)


@pytest.mark.parametrize(
    "value", [Decimal("1.5"), b"\xff", {"a": [Decimal(1)]}, float("inf"), date(2026, 1, 31)]
)
def test_any_value_has_a_content(value: Any) -> None:
    """Parquet's types too; and a different value has another one."""
    assert content(row({"a": value})) == content(row({"a": value}))
    assert content(row({"a": value})) != content(row({"a": "other"}))


@pytest.mark.parametrize(
    ("key", "other"),
    [
        (date(2026, 1, 31), date(2026, 2, 1)),
        (datetime(2026, 1, 31, 12), datetime(2026, 1, 31, 13)),
        (timedelta(1), timedelta(2)),
        (b"\xff", b"\xfe"),
        (Decimal("1.5"), Decimal("1.6")),
    ],
)
@pytest.mark.parametrize("value", [1, Decimal(1)])
def test_a_map_has_a_content_whatever_its_keys_are(key: Any, other: Any, value: Any) -> None:
    """Those of Parquet may be of any kind; another key is another content, and their order is no matter."""
    assert content(row({"m": {key: value}})) != content(row({"m": {other: value}}))
    one, two = {key: value, other: value}, {other: value, key: value}
    assert content(row({"m": one})) == content(row({"m": two}))


@pytest.mark.parametrize(
    ("values", "spelled"),
    [
        ({"m": {10: "a", 9: None}}, b'{"m":{"9":null,"10":"a"}}'),
        ({"m": {True: 1}}, b'{"m":{"true":1}}'),
        ({"m": {1.5: Decimal("2.50")}, "f": math.nan}, b'{"f":NaN,"m":{"1.5":"Decimal(\'2.50\')"}}'),
        ({"d": date(2026, 1, 31)}, b'{"d":"2026-01-31"}'),
        (
            {"d": {"x": date(2026, 1, 31), "y": Decimal(1)}},
            b'{"d":{"x":"datetime.date(2026, 1, 31)","y":"Decimal(\'1\')"}}',
        ),
    ],
)
def test_a_content_is_spelled_the_same_for_ever(values: dict[str, Any], spelled: bytes) -> None:
    """Rows without ids are known by it: answers that are paid for hang on it."""
    assert content(row(values)) == spelled
