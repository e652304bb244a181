"""Tables of comma-separated values, read beside Python's own csv module."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from tests.reliability.corpus.case import Case

TAKEN: dict[str, bytes] = {
    "plain": b"id,value\n1,a\n2,b\n",
    "CRLF": b"id,value\r\n1,a\r\n2,b\r\n",
    "byte order mark": b"\xef\xbb\xbfvalue,id\na,1\n",
    "no final newline": b"id,value\n1,a",
    "blank lines": b"\n\nid,value\n\n1,a\n\n\n2,b\n",
    "quotes": b'id,value\n1,"a"\n2,"b ""c"" d"\n',
    "newlines in quotes": b'id,value\n1,"a\nb\r\nc"\n2,"d"\n',
    "commas in quotes": b'id,value\n1,"a,b,,c"\n',
    "quoted names": b'"id","value"\n1,a\n',
    "a name with a newline": b'"i\nd",value\n1,a\n',
    "white space": b"id,value\n1, a \n2,\tb\t\n",
    "numbers stay text": b"id,value\n1,007\n2,1e5\n3,1.0\n4,-0\n5,9007199254740993\n",
    "words stay text": b"id,value\n1,NULL\n2,NaN\n3,true\n4,None\n5,N/A\n",
    "dates stay text": b"id,value\n1,2026-01-31\n2,1/2\n",
    "formulas": b"id,value\n1,=1+1\n2,@SUM(A1)\n3,+1\n4,-1\n5,=cmd|' /C calc'!A0\n",
    "templates": b"id,value\n1,{{ 7*7 }}\n2,${HOME}\n3,{% include 'x' %}\n",
    "UTF-8": "id,value\n1,é\n2,😀\n3,\u202e\n".encode(),
    "NUL in a cell": b"id,value\n1,a\x00b\n",
    "control characters": b"id,value\n1,\x01\x1f\x7f\n2,\x1b[31m\n",
    "line separators of Unicode": "id,value\n1,a\u2028b\x85c\n".encode(),
    "an empty name": b",value\n1,a\n",
    "names of ours": b"status,Row_Id,value\nx,y,a\n",
    "a long name": b"n" * 100_000 + b",value\n1,a\n",
    "a cell of 1 MB": b"id,value\n1," + b"x" * 1_000_000 + b"\n",
    "5,000 columns": (",".join(f"c{n}" for n in range(5_000)) + ",value\n" + "1," * 5_000 + "a\n").encode(),
    "one column": b"value\na\nb\n",
    "only a header": b"id,value\n",
    "vertical tab and form feed": b"id,value\n1,a\x0bb\x0cc\n",
    "a backslash": b"id,value\n1,a\\\n2,\\N\n",
    "single quotes": b"id,value\n1,'a\n",
    "unit separators": b"id,value\n1,a\x1cb\x1dc\x1ed\n",
}
BAD: dict[str, tuple[bytes, dict[int, int]]] = {
    "too few fields": (b"id,value\n1\n2,b\n", {0: 2}),
    "too many fields": (b"id,value\n1,a,x\n2,b\n", {0: 2}),
    "fields after a quote": (b'id,value\n1,"a"b\n2,b\n', {0: 2}),
    "a quote open in the last line": (b'id,value\n1,a\n2,"b\n', {1: 3}),
    "Latin-1": ("id,value\n1,é\n2,b\n".encode("latin-1"), {0: 2}),
    "CR alone": (b"id,value\n1,a\r2,b\n3,c\n", {0: 2}),
    "bad after a record of three lines": (b'id,value\n1,"a\nb\nc"\n2\n', {1: 5}),
    "trailing comma": (b"id,value\n1,a,\n", {0: 2}),
    "cut in a character": ("id,value\n1,é".encode()[:-1], {0: 2}),
}
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "rows.csv: the file is empty"),
    "only blank lines": (b"\n\n\n", "rows.csv: the file is empty"),
    "duplicate names": (b"a,value,a\n1,2,3\n", r"rows\.csv:1: columns named more than once: 'a'"),
    "two empty names": (b",,value\n1,2,3\n", r"rows\.csv:1: columns named more than once"),
    "a quote open to the end": (b'id,value\n1,"a\n2,b\n3,c\n', r"rows\.csv:2: .*quote is left open"),
    "a quote open in the header": (b'id,"value\n1,a\n', r"rows\.csv:1: "),
    "semicolons": (b"id;value\n1;a\n", r"rows\.csv:1: .*only commas"),
    "tabs": (b"id\tvalue\n1\ta\n", r"rows\.csv:1: .*only commas"),
    "UTF-16": ("id,value\n1,a\n".encode("utf-16"), "UTF-16"),
    "CR alone in the header": (b"id,value\r1,a\r2,b", r"rows\.csv:1: "),
    "a header in Latin-1": ("id,valué\n1,a\n".encode("latin-1"), r"rows\.csv:1: .*not UTF-8"),
    "a spreadsheet": (b"PK\x03\x04" + bytes(100), "spreadsheet"),
    "gzip": (b"\x1f\x8b\x08" + bytes(30), "gzip data"),
}


def cases() -> Iterator[Case]:
    """Every table of this module."""
    for name, data in TAKEN.items():
        yield _case(name, data, values=_values(data))
    for name, (data, bad) in BAD.items():
        failed = {
            row: rf"^rows\.csv:{line}: no CSV record|^rows\.csv:{line}: the record"
            for row, line in bad.items()
        }
        yield _case(name, data, failed=failed)
    for name, (data, refused) in REFUSED.items():
        yield _case(name, data, refused=refused)
    cells = b'id,value\n1,\n2,""\n3," "\n'
    yield _case("an empty cell and an empty text", cells, values=[None, "", " "])


def _case(name: str, data: bytes, **ends: Any) -> Case:
    return Case("CSV", name, {"rows.csv": data}, name_of="rows.csv", **ends)


def _values(data: bytes) -> list[str]:
    """The column `value` by the standard library."""
    csv.field_size_limit(10_000_000)
    text = io.StringIO(data.decode("utf-8-sig"), newline="")
    names, *records = filter(None, csv.reader(text))
    return [record[names.index("value")] for record in records]
