"""Parquet files: damaged ones, and one for each kind of column."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.reliability.corpus.case import Case

_TEXT = {"prompt": {"messages": [{"role": "user", "content": "{{ value }}"}]}, "request": {}}
"""A job for values that JSON has no form for."""
_NONE = {"prompt": {"messages": [{"role": "user", "content": "hello"}]}, "request": {}}


def cases() -> Iterator[Case]:
    """Every file of this module."""
    yield from _damaged()
    yield from _kinds()
    yield from _shapes()


def _file(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def _case(name: str, data: bytes, **more: Any) -> Case:
    return Case("Parquet", name, {"rows.parquet": data}, name_of="rows.parquet", **more)


def _damaged() -> Iterator[Case]:
    numbers = pa.table({"value": list(range(2_000))})
    whole = _file(numbers, compression="none", use_dictionary=False, write_page_checksum=True)
    refused = r"rows\.parquet: no readable Parquet file"
    for cut in (0, 1, 4, 8, 100, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        yield _case(f"cut after {cut} bytes", whole[:cut], refused=refused)
    for at in (100, len(whole) // 3, len(whole) // 2):
        changed = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
        yield _case(f"byte {at} of a page changed", changed, refused=refused)
    length = len(whole) - 8
    yield _case("a footer longer than the file", whole[:length] + b"\xff\xff\xff\x7fPAR1", refused=refused)
    yield _case("a footer of zeros", whole[: length - 200] + bytes(200) + whole[length:], refused=refused)
    yield _case("encrypted", whole[:-4] + b"PARE", refused=refused)
    yield _case("no Parquet", b"hello" * 100, refused=refused)
    yield _case("JSON lines", b'{"value":1}\n', refused=refused)
    yield _case("only its magic", b"PAR1PAR1", refused=refused)
    for at in range(length - 40, length, 8):
        changed = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
        yield _case(f"byte {at - length} of the footer changed", changed, job=_NONE, either=True)


def _kinds() -> Iterator[Case]:
    exact: Mapping[str, tuple[pa.DataType, list[Any]]] = {
        "bool": (pa.bool_(), [True, False, None]),
        "int8": (pa.int8(), [-128, 127]),
        "uint8": (pa.uint8(), [0, 255]),
        "int64": (pa.int64(), [-(2**63), 2**63 - 1, 2**53 + 1]),
        "uint64": (pa.uint64(), [0, 2**64 - 1]),
        "double": (pa.float64(), [0.1, -0.0, 5e-324, 1.7976931348623157e308]),
        "float": (pa.float32(), [0.5, 0.10000000149011612]),
        "half": (pa.float16(), [0.5, -2.0]),
        "double that is no number": (pa.float64(), [float("nan"), float("inf")]),
        "string": (pa.string(), ["", "a", "\0", "\U0001f600", None]),
        "large string": (pa.large_string(), ["a", "b"]),
        "dictionary": (pa.dictionary(pa.int32(), pa.string()), ["a", "b", "a", None]),
        "null": (pa.null(), [None, None]),
        "list": (pa.list_(pa.int64()), [[1, 2], [], None, [None]]),
        "large list": (pa.large_list(pa.string()), [["a"], []]),
        "fixed list": (pa.list_(pa.int32(), 2), [[1, 2], [3, 4]]),
        "struct": (pa.struct({"a": pa.int64(), "b": pa.string()}), [{"a": 1, "b": None}, {"a": 2, "b": "x"}]),
        "list of structs": (pa.list_(pa.struct({"a": pa.int64()})), [[{"a": 1}, None], []]),
        "lists in lists": (pa.list_(pa.list_(pa.int8())), [[[1], []], None]),
    }
    for name, (kind, values) in exact.items():
        yield _case(name, _file(pa.table({"value": pa.array(values, kind)})), values=values)
    day = dt.datetime(2026, 1, 31, 12, 30, 15, 123456)
    spelled: Mapping[str, tuple[pa.DataType, list[Any]]] = {
        "decimal": (pa.decimal128(38, 9), [Decimal("12345678901234567890.123456789"), None]),
        "decimal of 76 digits": (pa.decimal256(76, 0), [Decimal("9" * 76)]),
        "date": (pa.date32(), [dt.date(2026, 1, 31), dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
        "timestamp": (pa.timestamp("us"), [day]),
        "timestamp with a zone": (pa.timestamp("us", "Europe/Berlin"), [day.replace(tzinfo=dt.UTC)]),
        "time": (pa.time64("us"), [dt.time(12, 30)]),
        "duration": (pa.duration("us"), [dt.timedelta(days=1)]),
    }
    for name, (kind, values) in spelled.items():
        yield _case(name, _file(pa.table({"value": pa.array(values, kind)})), values=values, job=_TEXT)
    yield _case(
        "map", _file(pa.table({"value": pa.array([[("a", 1)]], pa.map_("string", "int64"))})), job=_NONE
    )
    yield _case(
        "binary", _file(pa.table({"value": [b"\0\xff"], "x": [1]})), refused="2 bytes have no text", job=_TEXT
    )
    nanoseconds = pa.array([1, 10**18 + 1], pa.int64()).cast(pa.timestamp("ns"))
    yield _case("timestamp of nanoseconds", _file(pa.table({"value": nanoseconds})), job=_TEXT)
    for name, kind in {"time": pa.time64("ns"), "duration": pa.duration("ns")}.items():
        data = _file(pa.table({"value": pa.array([1], kind), "x": [1]}))
        yield _case(f"{name} of nanoseconds", data, job=_NONE, failed={0: "no readable value"})
    beyond = pa.array([10**15], pa.timestamp("ms"))
    yield _case("a year beyond 9999", _file(pa.table({"value": beyond})), job=_NONE, either=True)
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    yield _case(
        "text that is not UTF-8", _file(pa.table({"value": text})), failed={0: "row 1: column 'value'"}
    )
    uuid = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16)))
    yield _case("extension type", _file(pa.table({"value": uuid})), job=_NONE)


def _shapes() -> Iterator[Case]:
    yield _case("no rows", _file(pa.table({"value": pa.array([], pa.int64())})), values=[])
    yield _case("no columns", _file(pa.table({})), job=_NONE, either=True)
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["value", "value"])
    yield _case(
        "a column twice", _file(twice), refused=r"rows\.parquet: columns named more than once: 'value'"
    )
    for name in ("", " ", "a.b", "STATUS", "row_index", "\u202e", "n" * 50_000):
        table = pa.table({name: ["x"], "value": [1]})
        yield _case(f"a column called {ascii(name)[:30]}", _file(table), values=[1])
    wide = pa.table({"value": [1], **{f"c{number}": [number] for number in range(2_000)}})
    yield _case("2,000 columns", _file(wide), values=[1])
    groups = pa.table({"value": list(range(500))})
    yield _case("500 row groups", _file(groups, row_group_size=1), values=list(range(500)))
    for codec in ("gzip", "zstd", "brotli", "lz4", "snappy"):
        yield _case(f"compressed by {codec}", _file(groups, compression=codec), values=list(range(500)))
    large = pa.table({"value": ["x" * 2_000_000] * 4})
    yield _case("texts of 2 MB", _file(large), values=["x" * 2_000_000] * 4)
    for at, (name, other) in enumerate({"text": ["a"], "large integers": [2**60]}.items()):
        files = {
            "t/a.parquet": _file(pa.table({"value": [1.5]})),
            "t/b.parquet": _file(pa.table({"value": other})),
        }
        refused = r"column 'value' is double in t/a\.parquet, but"
        yield Case("Parquet", f"files that differ: {name} {at}", files, name_of="t", refused=refused)
