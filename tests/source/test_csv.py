"""CSV records become rows of strings; a record that does not fit the header is a bad row."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.errors import InputError
from batchrun.source import csv_records
from batchrun.source.files import SourceFile
from batchrun.source.kept import OnDisk
from batchrun.source.rows import Row
from tests.source.reading import read_rows, read_table, read_values, write

CELLS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ['"', '""', ",", "\r\n", "\n", " ", "\0"]
)


@settings(max_examples=80, deadline=None)
@given(
    table=st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), max_size=6))
)
def test_any_quoted_cell_comes_back_equal(table: list[list[str]]) -> None:
    """Whatever stands in quotes, line ends, quotes and NULs too, is read as it was written."""
    names = [f"c{at}" for at in range(len(table[0]) if table else 1)]
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([names, *table])
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "t.csv", text.getvalue().encode())
        assert [dict(zip(names, cells, strict=True)) for cells in table] == read_values(path)


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        (b"1,2,3", ["1", "2", "3"]),
        (b",,", [None, None, None]),
        (b'"","",""', ["", "", ""]),
        (b',"",x', [None, "", "x"]),
        (b'"",,"a"""""', ["", None, 'a""']),
        (b'"a,""",,""', ['a,"', None, ""]),
        (b' , "x" ,NaN', [" ", ' "x" ', "NaN"]),
        (b'"two\r\nlines",,""', ["two\r\nlines", None, ""]),
        (b'a"b,c""d,', ['a"b', 'c""d', None]),
        ("é,\u2028,😀".encode(), ["é", "\u2028", "😀"]),
    ],
)
def test_cells_are_strings_and_empty_ones_null(tmp_path: Path, line: bytes, cells: list[str | None]) -> None:
    """An empty cell is null, a quoted empty one the empty string, and nothing is trimmed or guessed."""
    (values,) = read_values(write(tmp_path / "t.csv", b"a,b,c\r\n" + line + b"\r\n"))
    assert cells == list(values.values())


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"1", "the record has 1 fields, the header 2"),
        (b"1,2,3", "the record has 3 fields, the header 2"),
        (b'"1"x,2', "expected after"),
        (b"\xff,2", "not UTF-8: byte 0xff"),
        (b'"a\n\xff",2', "not UTF-8: byte 0xff"),
        (b"a\rb,2", "a carriage return stands alone outside quotes"),
    ],
)
def test_records_that_are_no_rows(tmp_path: Path, record: bytes, reason: str) -> None:
    """A bad record is one bad row, located where it starts, and the next record is read."""
    path = write(tmp_path / "t.csv", b'a,b\n"x\ny",1\n' + record + b"\n3,4\n")
    first, bad, last = read_rows(path)
    assert bad.error is not None
    assert bad.error.type == "bad_row"
    assert bad.error.message.startswith("t.csv:4: ")
    assert reason in bad.error.message
    assert bad.raw == record + b"\n"
    assert first == Row(0, {"a": "x\ny", "b": "1"}, "t.csv:2")
    assert last == Row(2, {"a": "3", "b": "4"}, f"t.csv:{5 + record.count(10)}")


def test_a_last_record_cut_in_its_quotes_is_a_bad_row(tmp_path: Path) -> None:
    """A file cut inside its last line loses that row, visibly, and no other."""
    first, bad = read_rows(write(tmp_path / "t.csv", b'a,b\n1,2\n3,"x'))
    assert first.error is None
    assert bad.error is not None
    assert "its quote is not closed before the end of the file" in bad.error.message


def test_an_open_quote_that_swallows_lines_is_refused(tmp_path: Path) -> None:
    """Rows inside a quote that never closes would vanish into one bad row: the file is refused."""
    path = write(tmp_path / "t.csv", b'a,b\n1,2\n3,"x\n4,5\n')
    with pytest.raises(InputError, match=r"t\.csv:3: .* never ends: a quote is left open") as caught:
        read_rows(path)
    assert caught.value.hint


@pytest.mark.parametrize("data", [b'a,b\n"' + b"x,\n" * 100, b"a,b\n" + b"x" * 300])
def test_a_record_beyond_the_limit_is_refused(tmp_path: Path, data: bytes) -> None:
    """An open quote is found out at the limit, not at the end of the memory."""
    path = write(tmp_path / "t.csv", data)
    file = SourceFile(OnDisk(path, 0, 0), "t.csv", "csv", None)
    with pytest.raises(InputError, match=r"t\.csv:2: .* is longer than 100 bytes"):
        list(csv_records.read(file, 0, None, limit=100))


def test_long_cells_are_read(tmp_path: Path) -> None:
    """A cell beyond the csv module's default of 128 kB is a cell like any other."""
    (values,) = read_values(write(tmp_path / "t.csv", b"a\n" + b"x" * 300_000 + b"\n"))
    assert len(values["a"]) == 300_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\n\r\n", "the file is empty"),
        (b"a,b,a,c,b\n1,2,3,4,5\n", "columns named more than once: 'a', 'b'"),
        (b"a;b\n1;2\n", "only commas separate columns"),
        (b"a\tb\n1\t2\n", "only commas separate columns"),
        (b"a,b\r1,2\r", "the line of column names cannot be read: a carriage return"),
        (b"\xffa,b\n", "the line of column names cannot be read: not UTF-8"),
    ],
)
def test_files_without_a_usable_header_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    """Without one clear name a column nothing can be read, and the message says why."""
    with pytest.raises(InputError, match=message):
        read_rows(write(tmp_path / "t.csv", data))


def test_blank_lines_and_the_byte_order_mark_are_no_data(tmp_path: Path) -> None:
    """The mark is not part of the first name; blank lines are skipped and counted."""
    rows = read_rows(write(tmp_path / "t.csv", b"\xef\xbb\xbfa,b\r\n\r\n1,2\r\n\r\n\r\n3,4"))
    assert [(row.location, row.values) for row in rows] == [
        ("t.csv:3", {"a": "1", "b": "2"}),
        ("t.csv:6", {"a": "3", "b": "4"}),
    ]


def test_every_column_is_a_string(tmp_path: Path) -> None:
    """Numbers keep their leading zeros; a header without rows still has its columns."""
    table = read_table(write(tmp_path / "t.csv", b"zip,n\n01234,1\n,2\n"))
    assert [str(field.type) for field in table.schema] == ["string", "string"]
    assert table.to_pylist() == [{"zip": "01234", "n": "1"}, {"zip": None, "n": "2"}]
    assert read_table(write(tmp_path / "empty.csv", b"a,b\n")).schema.names == ["a", "b"]
