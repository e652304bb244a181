"""Parquet rows keep their types; files that do not go together are refused by column."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchrun.errors import InputError
from batchrun.source import open_source
from tests.source.reading import read_rows, read_table, read_values, write

NANO = 1_767_225_600_000_000_001


def store(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def invalid_text(*texts: bytes) -> pa.Array:
    return pa.array(texts, pa.binary()).view(pa.string())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (pa.array([7], pa.int8()), 7),
        (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
        (pa.array([Decimal("1.10")]), Decimal("1.10")),
        (pa.array([b"\xff"]), b"\xff"),
        (pa.array([b"\xff"], pa.large_binary()), b"\xff"),
        (pa.array([b"\xff\0"], pa.binary(2)), b"\xff\0"),
        (pa.array([[b"\xff", None]]), [b"\xff", None]),
        (pa.array([{"bytes": b"\xff", "path": None}]), {"bytes": b"\xff", "path": None}),
        (pa.array([date(2026, 1, 2)]), date(2026, 1, 2)),
        (pa.array([datetime(2026, 1, 2, tzinfo=UTC)]), datetime(2026, 1, 2, tzinfo=UTC)),
        (pa.array([1_767_225_600_000_000_000], pa.timestamp("ns")), datetime(2026, 1, 1)),
        (pa.array([[{"x": 1, "y": None}]]), [{"x": 1, "y": None}]),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), {"k": 1}),
        (pa.array(["a"], pa.large_string()), "a"),
        (pa.array([None], pa.float32()), None),
    ],
    ids=lambda column: str(getattr(column, "type", "")),
)
def test_types_are_as_read(tmp_path: Path, column: pa.Array, value: Any) -> None:
    """The Arrow column is the file's own, and the value its plain Python object."""
    path = store(tmp_path / "t.parquet", {"a": column})
    assert read_values(path) == [{"a": value}]
    found = read_table(path)
    assert found["a"].type == column.type
    assert found["a"].combine_chunks().equals(column)


def test_rows_are_numbered(tmp_path: Path) -> None:
    """Rows are named by file and number from 1, across row groups."""
    path = store(tmp_path / "t.parquet", {"a": list(range(2500))}, row_group_size=700)
    rows = read_rows(path)
    assert [(row.index, row.location, row.values["a"]) for row in rows] == [
        (at, f"t.parquet: row {at + 1}", at) for at in range(2500)
    ]


def test_wide_rows_come_in_small_batches(tmp_path: Path) -> None:
    """Batches are bounded by bytes: a thousand rows of 100 kB are not held at once."""
    path = store(tmp_path / "t.parquet", {"a": [f"{at:0100000}" for at in range(60)]}, use_dictionary=False)
    sizes = [len(batch.rows) for batch in open_source(path.name, root=tmp_path).batches()]
    assert sum(sizes) == 60
    assert max(sizes) <= 11


def test_only_the_columns_asked_for(tmp_path: Path) -> None:
    """A member of a struct is no column; no columns at all still give the rows."""
    path = store(tmp_path / "t.parquet", {"a": [{"b": 1}], "a.b": [2], "c": [3]})
    assert [row.values for row in read_rows(path, ["a.b", "none"])] == [{"a.b": 2}]
    assert [row.values for row in read_rows(path, [])] == [{}]


def test_long_decimals_are_read_as_strings_with_all_their_digits(tmp_path: Path) -> None:
    """polars reads no file that has a decimal of more than 38 digits, however deep it stands."""
    long, kind = Decimal("9" * 75 + ".5"), pa.decimal256(76, 1)
    columns = {
        "a": pa.array([long, None], kind),
        "b": pa.array([{"x": [long]}, None], pa.struct({"x": pa.list_(kind)})),
    }
    path = store(tmp_path / "t.parquet", columns)
    texts = [{"a": str(long), "b": {"x": [str(long)]}}, {"a": None, "b": None}]
    assert read_table(path).to_pylist() == read_values(path) == texts


def test_dictionaries_are_read_as_their_values(tmp_path: Path) -> None:
    """A categorical column is a plain string column."""
    found = read_table(store(tmp_path / "t.parquet", {"a": pa.array(["x", "x", None]).dictionary_encode()}))
    assert found.schema.field("a").type == pa.string()
    assert found["a"].to_pylist() == ["x", "x", None]


def test_nanoseconds_are_text(tmp_path: Path) -> None:
    """Nanoseconds are not cut: such a value is ISO 8601 text, and the column stays exact."""
    column = pa.array([NANO, NANO - 1, None, -1], pa.timestamp("ns", tz="Europe/Paris"))
    path = store(tmp_path / "t.parquet", {"a": column, "b": column.cast(pa.timestamp("ns"))})
    rows = read_values(path)
    assert [row["a"] for row in rows] == [
        "2026-01-01T00:00:00.000000001Z",
        datetime(2026, 1, 1, tzinfo=UTC),
        None,
        "1969-12-31T23:59:59.999999999Z",
    ]
    assert rows[0]["b"] == "2026-01-01T00:00:00.000000001"
    assert read_table(path)["a"].combine_chunks().equals(column)


@pytest.mark.parametrize(
    "column",
    [
        invalid_text(b"ok", b"\xff", b"ok"),
        pa.array([[("k", 1)], [("k", 1), ("k", 2)], []], pa.map_(pa.string(), pa.int64())),
        pa.array([0, 5_000_000, 1], pa.int32()).cast(pa.date32()),
        pa.array([0, 10**12, 1], pa.timestamp("s")),
        pa.array([[0], [NANO], []], pa.list_(pa.timestamp("ns"))),
    ],
    ids=lambda column: str(column.type),
)
def test_values_without_a_python_form_are_bad_rows(tmp_path: Path, column: pa.Array) -> None:
    """One unreadable value costs its own row, named, which is null in the table too."""
    path = store(tmp_path / "t.parquet", {"n": [1, 2, 3], "a": column})
    first, bad, last = read_rows(path)
    assert (first.values["n"], last.values["n"]) == (1, 3)
    assert bad.error is not None
    assert bad.error.message.startswith("t.parquet: row 2: column 'a' has no readable value: ")
    assert bad.raw
    assert read_table(path)["n"].to_pylist() == [1, None, 3]
    read_table(path).validate(full=True)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("empty", lambda data: b""),
        ("text", lambda data: b"hello"),
        ("no footer", lambda data: data[:-8]),
        ("cut", lambda data: data[: len(data) // 2]),
        ("footer overwritten", lambda data: data[:-60] + b"\xff" * 40 + data[-20:]),
        ("pages overwritten", lambda data: data[:4] + b"\xff" * 400 + data[404:]),
        ("a name that is no UTF-8", lambda data: data.replace(b"member", b"memb\xd1r")),
        ("a flipped bit", lambda data: data[:900] + bytes([data[900] ^ 1]) + data[901:]),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, name: str, change: Any) -> None:
    """Damage anywhere is one message with the file's name, also where only a checksum shows it."""
    bare = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    whole = store(
        tmp_path / "t.parquet", {"a": list(range(5000)), "b": [{"member": 1}] * 5000}, **bare
    ).read_bytes()
    path = write(tmp_path / "t.parquet", change(whole))
    with pytest.raises(InputError, match=r"t\.parquet: no readable Parquet file") as caught:
        read_rows(path)
    assert caught.value.hint


def test_columns_named_twice_are_refused(tmp_path: Path) -> None:
    """A name must mean one column."""
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="columns named more than once: 'a'"):
        read_rows(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        (pa.array([1], pa.int32()), pa.array([2**40], pa.int64()), pa.int64()),
        (pa.array([1], pa.uint8()), pa.array([2], pa.uint16()), pa.uint16()),
        (pa.array([1.5], pa.float32()), pa.array([0.1]), pa.float64()),
        (pa.array([1], pa.int32()), pa.array([0.1]), pa.float64()),
        (pa.nulls(1), pa.array(["a"]), pa.string()),
        (pa.array(["a"]), pa.array(["b"], pa.large_string()), pa.large_string()),
        (pa.array(["a"]).dictionary_encode(), pa.array(["b"]), pa.string()),
        (pa.nulls(1), pa.nulls(1), pa.string()),
    ],
    ids=lambda item: str(getattr(item, "type", item)),
)
@pytest.mark.parametrize("swapped", [False, True])
def test_types_widen_where_that_is_exact(
    tmp_path: Path, first: pa.Array, second: pa.Array, joined: pa.DataType, swapped: bool
) -> None:
    """Files that differ in width are read under the wider type, whichever comes first."""
    one, other = (second, first) if swapped else (first, second)
    store(tmp_path / "in/1.parquet", {"a": one})
    store(tmp_path / "in/2.parquet", {"a": other})
    found = read_table(tmp_path / "in")
    assert found.schema.field("a").type == joined
    assert found["a"].to_pylist() == one.to_pylist() + other.to_pylist()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pa.array([1]), pa.array([0.5])),
        (pa.array([1]), pa.array(["1"])),
        (pa.array([1], pa.uint64()), pa.array([1])),
        (pa.array([{"x": 1}]), pa.array([{"x": "a"}])),
        (pa.array([0], pa.timestamp("s")), pa.array([0], pa.timestamp("ns"))),
    ],
    ids=lambda item: str(item.type),
)
def test_types_that_do_not_go_together_are_refused(tmp_path: Path, first: pa.Array, second: pa.Array) -> None:
    """The message names the column, both types and both files."""
    store(tmp_path / "in/1.parquet", {"a": first})
    store(tmp_path / "in/2.parquet", {"b": [1]})
    store(tmp_path / "in/3.parquet", {"a": second})
    with pytest.raises(InputError, match=r"column 'a' is .* in in/1\.parquet, but .* in in/3\.parquet"):
        open_source("in", root=tmp_path)


def test_a_column_that_one_file_lacks_is_null(tmp_path: Path) -> None:
    """Columns are joined by name; Hive folders add theirs and win over a file's own."""
    store(tmp_path / "in/k=1/t.parquet", {"a": [1], "k": [1]})
    store(tmp_path / "in/k=2/t.parquet", {"b": ["x"]})
    assert read_table(tmp_path / "in").to_pylist() == [
        {"a": 1, "b": None, "k": "1"},
        {"a": None, "b": "x", "k": "2"},
    ]
    rows = [row for batch in open_source("in", root=tmp_path).batches() for row in batch.rows]
    assert [row.values for row in rows] == [{"a": 1, "k": "1"}, {"b": "x", "k": "2"}]


def test_overrides_cast(tmp_path: Path) -> None:
    """`input.types` casts a column where that is exact."""
    path = store(tmp_path / "t.parquet", {"a": ["1", None], "b": [1, 2], "c": [{"x": 1}, None]})
    found = read_table(path, {"a": "int64", "b": "string", "c": "json"})
    assert found.to_pylist() == [{"a": 1, "b": "1", "c": '{"x":1}'}, {"a": None, "b": "2", "c": None}]


@pytest.mark.parametrize(
    ("column", "kind", "place"),
    [
        (pa.array(["1", "x"]), "int64", "row 2"),
        (pa.array([1.0, 1.5]), "int64", "row 2"),
        (pa.array([1, 2**53 + 1]), "float64", "row 2"),
        (pa.array([{"x": 1}]), "int64", "row 1"),
        (pa.array([None, Decimal("1.5")]), "json", "row 2"),
    ],
)
def test_overrides_that_do_not_fit(tmp_path: Path, column: pa.Array, kind: str, place: str) -> None:
    """A value that would change, or has no such form, is named by its row."""
    path = store(tmp_path / "t.parquet", {"a": column})
    with pytest.raises(InputError, match=rf"t\.parquet: {place}: column 'a'.*"):
        read_table(path, {"a": kind})


@pytest.mark.parametrize(
    ("kind", "value", "inexact", "read"),
    [
        (pa.list_(pa.timestamp("ns")), [10**18], [NANO], [datetime(2001, 9, 9, 1, 46, 40)]),
        (pa.list_(pa.timestamp("ns"), 1), [10**18], [NANO], [datetime(2001, 9, 9, 1, 46, 40)]),
        (
            pa.struct([("t", pa.timestamp("ns"))]),
            {"t": 10**18},
            {"t": NANO},
            {"t": datetime(2001, 9, 9, 1, 46, 40)},
        ),
        (
            pa.map_(pa.string(), pa.timestamp("ns")),
            [("t", 10**18)],
            [("t", NANO)],
            {"t": datetime(2001, 9, 9, 1, 46, 40)},
        ),
        (pa.duration("ns"), 3000, 3001, timedelta(microseconds=3)),
        (pa.time64("ns"), 3000, 3001, time(0, 0, 0, 3)),
    ],
    ids=str,
)
def test_nanoseconds_are_no_matter_of_what_is_installed(
    tmp_path: Path, kind: pa.DataType, value: Any, inexact: Any, read: Any
) -> None:
    """Exact ones are Python's own objects; others cost their row, which says why without naming pandas."""
    path = store(tmp_path / "t.parquet", {"a": pa.array([value, None, inexact], kind)})
    first, null, bad = read_rows(path)
    assert (first.values["a"], null.values["a"]) == (read, None)
    assert type(first.values["a"]) is type(read)
    assert bad.error is not None
    assert "would lose data" in bad.error.message
    assert "pandas" not in bad.error.message
