"""JSON Lines become rows; a line that is none becomes a bad row that says where it stands."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.source import jsonl
from batchrun.source.files import SourceFile
from batchrun.source.kept import OnDisk
from batchrun.source.rows import MAX_RAW, Row
from tests.source.reading import read_rows, read_values, write

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=6)


@settings(max_examples=80, deadline=None)
@given(
    objects=st.lists(OBJECTS, max_size=8), ascii=st.booleans(), ending=st.sampled_from(["\n", "\r\n", "\n\n"])
)
def test_any_json_object_comes_back_equal(objects: list[dict[str, Any]], ascii: bool, ending: str) -> None:
    """What was written as a JSON object is read as the same Python value, type by type."""
    text = ending.join(json.dumps(value, ensure_ascii=ascii) for value in objects)
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "t.jsonl", text.encode())
        assert repr(objects) == repr(read_values(path))


GOOD_LINES = {
    "plain": (b'{"a":1}', {"a": 1}),
    "surrounding white space": (b' \t{"a":1} \r', {"a": 1}),
    "no members": (b"{}", {}),
    "the last of two equal keys": (b'{"a":1,"a":2}', {"a": 2}),
    "beyond 64 bits": (b'{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
    "least of 64 bits": (b'{"a":-9223372036854775808}', {"a": -(2**63)}),
    "2^53 + 1": (b'{"a":9007199254740993}', {"a": 2**53 + 1}),
    "escaped NUL": (b'{"a\\u0000":"\\u0000"}', {"a\0": "\0"}),
    "lone surrogate in a value": (b'{"a":"x\\ud800"}', {"a": "x\ud800"}),
    "surrogate pair in a key": (b'{"\\ud83d\\ude00":1}', {"😀": 1}),
    "Infinity": (b'{"a":-Infinity}', {"a": -math.inf}),
    "line separators within strings": ('{"a":"\u2028\u0085"}'.encode(), {"a": "\u2028\u0085"}),
    "empty key": (b'{"":null}', {"": None}),
    "nested 200 levels": (b'{"a":' + b"[" * 199 + b"]" * 199 + b"}", None),
    "many brackets, not nested": (b'{"a":[' + b"[],{}," * 500 + b"0]}", None),
}


@pytest.mark.parametrize("name", GOOD_LINES)
def test_odd_lines_that_are_rows(tmp_path: Path, name: str) -> None:
    """Lines that other readers drop, round or refuse are rows with exactly the values they spell."""
    line, expected = GOOD_LINES[name]
    (values,) = read_values(write(tmp_path / "t.jsonl", line))
    assert expected in (None, values)


BAD_LINES = {
    "text": (b"hello", "no JSON object"),
    "truncated": (b'{"a": "x', "no JSON object"),
    "array": (b'[{"a":1}]', "an array; JSON Lines has one object a line"),
    "string": (b'"a"', "the line is a string"),
    "number": (b"1.5", "the line is a number"),
    "integer": (b"7", "the line is a number"),
    "null": (b"null", "the line is null"),
    "boolean": (b"true", "the line is a boolean"),
    "two objects": (b'{"a":1}{"a":2}', "no JSON object"),
    "two objects with a carriage return between": (b'{"a":1}\r{"a":2}', "no JSON object"),
    "trailing comma": (b'{"a":1,}', "no JSON object"),
    "single quotes": (b"{'a':1}", "no JSON object"),
    "comment": (b'{"a":1} // x', "no JSON object"),
    "raw NUL": (b'{"a":"\0"}', "no JSON object"),
    "only NULs": (b"\0" * 40, "no JSON object"),
    "raw control character": (b'{"a":"\x01"}', "no JSON object"),
    "no UTF-8": (b'{"a":"\xff"}', "not UTF-8: byte 0xff at offset 6"),
    "surrogate in UTF-8": (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
    "overlong UTF-8": (b'{"a":"\xc0\xaf"}', "not UTF-8"),
    "byte order mark within the file": (b'\xef\xbb\xbf{"a":1}', "no JSON object"),
    "nested 201 levels": (b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
    "nested 900 levels": (b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", "nested too deeply"),
    "nested 100,000 levels": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    "100,000 open brackets": (b"[" * 100_000, "no JSON object"),
    "integer of 5,000 digits": (b'{"a":' + b"1" * 5000 + b"}", "no JSON object"),
    "lone surrogate in a key": (b'{"\\udc00":1}', "a key holds a lone surrogate"),
    "leading zero": (b'{"a":01}', "no JSON object"),
    "hexadecimal": (b'{"a":0x1}', "no JSON object"),
    "bad escape": (b'{"a":"\\x"}', "no JSON object"),
    "no value": (b'{"a":}', "no JSON object"),
    "unquoted key": (b"{a:1}", "no JSON object"),
}


@pytest.mark.parametrize("name", BAD_LINES)
@pytest.mark.parametrize("end", [b"", b"\n"], ids=["last", "ended"])
def test_lines_that_are_no_rows(tmp_path: Path, name: str, end: bytes) -> None:
    """A bad line is one bad row that names file and line; the rows around it are not touched."""
    line, reason = BAD_LINES[name]
    good, bad = read_rows(write(tmp_path / "t.jsonl", b'{"ok":1}\n' + line + end))
    assert good == Row(0, {"ok": 1}, "t.jsonl:1")
    assert bad.error is not None
    assert bad.error.type == "bad_row"
    assert bad.error.message.startswith("t.jsonl:2: ")
    assert reason in bad.error.message
    assert (bad.index, bad.location, bad.values) == (1, "t.jsonl:2", {})
    assert bad.raw == line if len(line) <= MAX_RAW else bad.raw.startswith(line[:1000])


def test_nan_is_kept(tmp_path: Path) -> None:
    """NaN, which Python writes and JSON does not know, is read as what it is."""
    (values,) = read_values(write(tmp_path / "t.jsonl", b'{"a":NaN}'))
    assert math.isnan(values["a"])


def test_blank_lines_are_no_rows_but_lines(tmp_path: Path) -> None:
    """Blank lines are skipped, and the rows after them keep the line numbers an editor shows."""
    path = write(tmp_path / "t.jsonl", b'\xef\xbb\xbf\n\r\n{"a":1}\r\n  \t\n\n{"a":2}')
    assert [(row.index, row.location, row.values["a"]) for row in read_rows(path)] == [
        (0, "t.jsonl:3", 1),
        (1, "t.jsonl:6", 2),
    ]


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", b"\r\n \n"])
def test_an_empty_file_has_no_rows(tmp_path: Path, data: bytes) -> None:
    """A file of no lines, or of blank ones, is an input of no rows, not an error."""
    assert read_rows(write(tmp_path / "t.jsonl", data)) == []


def test_batches_hold_at_most_a_thousand_rows(tmp_path: Path) -> None:
    """Small rows come a thousand at a time, numbered on through all batches."""
    path = write(tmp_path / "t.jsonl", b"".join(b'{"a":%d}\n' % at for at in range(2500)))
    assert [(at, f"t.jsonl:{at + 1}", {"a": at}) for at in range(2500)] == [
        (row.index, row.location, row.values) for row in read_rows(path)
    ]
    sizes = [len(batch.rows) for batch in jsonl.read(_described(path), 0, None)]
    assert max(sizes) == 1000


def test_only_the_columns_asked_for(tmp_path: Path) -> None:
    """`columns` leaves other keys out of the values; one that a row lacks is simply not there."""
    path = write(tmp_path / "t.jsonl", b'{"a":1,"b":2}\n{"b":3}\n')
    assert [row.values for row in read_rows(path, ["a", "c"])] == [{"a": 1}, {}]


@pytest.mark.parametrize(("size", "kept"), [(99, True), (100, True), (101, False), (5000, False)])
def test_a_line_beyond_the_limit_is_a_bad_row(tmp_path: Path, size: int, kept: bool) -> None:
    """The longest line that is read has the limit's bytes; the row after a longer one is read."""
    line = b'{"a":"' + b"x" * (size - 8) + b'"}'
    path = write(tmp_path / "t.jsonl", line + b'\n{"a":1}\n')
    batches = list(jsonl.read(_described(path), 0, None, limit=100))
    first, second = (row for batch in batches for row in batch.rows)
    assert (first.error is None) == kept
    assert second.values == {"a": 1}
    if first.error:
        assert f"t.jsonl:1: the line is too long ({size:,} bytes)" in first.error.message


def test_long_bad_lines_stay_different(tmp_path: Path) -> None:
    """Two bad lines that differ only at their end are cut for `raw`, and still differ there."""
    path = write(tmp_path / "t.jsonl", b"x" * 10_000 + b"1\n" + b"x" * 10_000 + b"2\n")
    first, second = read_rows(path)
    assert first.raw != second.raw
    assert len(first.raw) == len(second.raw) == MAX_RAW


def _described(path: Path) -> SourceFile:
    return SourceFile(OnDisk.found(path), path.name, "jsonl", None)
