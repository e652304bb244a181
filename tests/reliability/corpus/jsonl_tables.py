"""Tables of JSON lines: their bytes, their lines, their compression, their ids."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.reliability.corpus.case import Case
from tests.reliability.corpus.json_documents import read

LINES = b'{"id":"a","value":1}\n{"id":"b","value":2}\n{"id":"c","value":3}\n'
_IDS = {"input": {"path": "rows.jsonl", "id": "id"}}
_BAD = r"^rows\.jsonl:{}: "


def cases() -> Iterator[Case]:
    """Every table of this module."""
    yield from _lines()
    yield from _broken()
    yield from _columns()
    yield from _ids()
    yield from _compressed()
    yield from _large()


def _table(name: str, data: bytes, values: list[Any] | None, *bad: int, **more: Any) -> Case:
    """A table of which the lines `bad`, from 1, are no rows; their places in `values` do not count."""
    failed = {row: _BAD.format(line) for row, line in zip(more.pop("rows", bad), bad, strict=True)}
    return Case("JSONL", name, {"rows.jsonl": data}, failed=failed, values=values, **more)


def _lines() -> Iterator[Case]:
    one, two, three = b'{"value":1}', b'{"value":2}', b'{"value":3}'
    yield _table("byte order mark", b"\xef\xbb\xbf" + LINES, [1, 2, 3])
    yield _table("two byte order marks", b"\xef\xbb\xbf" * 2 + one + b"\n" + two, [None, 2], 1, rows=[0])
    yield _table("byte order mark inside", one + b"\n\xef\xbb\xbf" + two + b"\n", [1, None], 2, rows=[1])
    yield _table("byte order mark alone", b"\xef\xbb\xbf", [])
    yield _table("CRLF", LINES.replace(b"\n", b"\r\n"), [1, 2, 3])
    yield _table("CR alone between rows", b"\r".join([one, two]) + b"\n", [None], 1, rows=[0])
    yield _table("no final newline", LINES.rstrip(), [1, 2, 3])
    yield _table("blank lines", b"\n\n" + one + b"\n  \n\t\n\r\n" + two + b"\n\n", [1, 2])
    yield _table("only blank lines", b"\n \n\t\n\n", [])
    yield _table("empty", b"", [])
    yield _table("one newline", b"\n", [])
    yield _table("white space around", b"  " + one + b"  \n\t" + two + b"\t\n", [1, 2])
    yield _table("line separators of Unicode", '{"value":"a\u2028b\x85c"}\n'.encode(), ["a\u2028b\x85c"])
    yield _table("two objects in a line", one + two + b"\n" + three, [None, 3], 1, rows=[0])
    yield _table("a comma after each", one + b",\n" + two + b",\n", [None, None], 1, 2, rows=[0, 1])
    yield _table("bad after blank", b"\n\n" + one + b"\n\nx\n", [1, None], 5, rows=[1])
    yield _table("vertical tab before", b"\x0b" + one + b"\n", [None], 1, rows=[0])
    yield _table("a line of NULs", one + b"\n" + bytes(100) + b"\n" + two, [1, None, 2], 2, rows=[1])
    yield _table("a comment line", b"# rows\n" + one + b"\n", [None, 1], 1, rows=[0])
    yield _table("UTF-8 in a key", '{"clé":1,"value":"ü"}\n'.encode(), ["ü"])


def _broken() -> Iterator[Case]:
    yield _table("cut in the last row", LINES[:-4], [1, 2, None], 3, rows=[2])
    yield _table("cut in a character", '{"value":"é'.encode()[:-1], [None], 1, rows=[0])
    for cut in range(1, 11):
        yield _table(f"cut after {cut} bytes", b'{"value":1}'[:cut], [None], 1, rows=[0])
    pretty = json.dumps({"value": 1}, indent=1).encode()
    yield _table("pretty-printed", pretty, [None] * 3, 1, 2, 3, rows=[0, 1, 2])
    yield _table("an array of rows", b'[{"value":1},{"value":2}]\n', [None], 1, rows=[0])
    for kind, text in {"string": '"a"', "number": "1", "null": "null", "boolean": "true"}.items():
        yield _table(f"a {kind} for a row", text.encode() + b"\n", [None], 1, rows=[0])
    yield _table("CSV", b"id,value\n1,2\n", [None, None], 1, 2, rows=[0, 1])
    yield _table("HTML", b"<html>\n</html>\n", [None, None], 1, 2, rows=[0, 1])
    yield _table("Latin-1", '{"value":"é"}\n'.encode("latin-1"), [None], 1, rows=[0])
    yield _table("random bytes", bytes(range(128, 256)) * 4, [None], 1, rows=[0])
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7"):
        data = LINES.decode().encode(encoding)
        ends: dict[str, Any] = {"either": True}
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            ends = {"refused": r"rows\.jsonl .*UTF-16"}
        yield Case("JSONL", encoding, {"rows.jsonl": data}, **ends)
    for name, head in {"gzip": gzip.compress(LINES), "zip": b"PK\x03\x04", "Parquet": b"PAR1"}.items():
        yield Case(
            "JSONL", f"{name} without its suffix", {"rows.jsonl": head}, refused=r"rows\.jsonl .*but is"
        )


def _columns() -> Iterator[Case]:
    rows: list[Any] = [1] * 10_050
    late = b"".join(
        b'{"value":%d%s}\n' % (1, b',"late":true' if row > 10_000 else b"") for row in range(10_050)
    )
    yield _table("a key first seen after 10,000 rows", late, rows)
    mixed = b"".join(b'{"value":%s}\n' % (b"1" if row < 10_000 else b'"x"') for row in range(10_050))
    yield _table("another kind after 10,000 rows", mixed, [1] * 10_000 + ["x"] * 50)
    kinds: dict[str, list[Any]] = {
        "integer then float": [1, 2.5],
        "large integer then float": [2**53 + 1, 0.5],
        "integer then text": [1, "1"],
        "boolean then integer": [True, 1],
        "list then object": [[1], {"a": 1}],
        "null then object": [None, {"a": None}],
        "text that looks like JSON": ['{"a":1}', {"a": 1}],
        "nested kinds": [{"a": 1}, {"a": "1"}, {"a": [1]}],
        "ints beyond 64 bits": [1, 2**64, -(2**70)],
        "int64 ends": [2**63 - 1, -(2**63)],
        "2^53": [2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1],
        "list of mixed": [[1, "a"], [None], []],
        "objects without members": [{}, {}],
        "empty lists": [[], []],
        "many keys": [{str(n): n} for n in range(1_200)],
        "deep": [json.loads("[" * 30 + "]" * 30)],
    }
    for name, values in kinds.items():
        data = b"".join(json.dumps({"value": value}).encode() + b"\n" for value in values)
        yield _table(name, data, [read(json.dumps(value)) for value in values])
    twice = b'{"value":1,"value":2}\n{"value":{"a":1,"a":2}}\n'
    yield _table("a key twice: the last counts", twice, [2, {"a": 2}])
    wide = json.dumps({"value": 1, **{f"c{n}": n for n in range(9_000)}}).encode()
    yield _table("9,000 columns", wide, [1])
    data = "".join(json.dumps({"value": 1, f"k{n}": n}) + "\n" for n in range(10_050)).encode()
    yield Case("JSONL", "10,050 keys", {"rows.jsonl": data}, refused=r"rows\.jsonl:\d+: more than 10,000")
    yield _table("a name of 100,000 letters", json.dumps({"n" * 100_000: 1, "value": 2}).encode(), [2])
    for name in ("", " ", "a b", "a.b", "status", "STATUS", "Row_Id", "error", "self", "row", "{{", "\u0000"):
        line = json.dumps({name: "x", "value": 1}).encode()
        yield _table(f"a column called {name!a}", line, [1])
    surrogate = b'{"\\ud800":1,"value":1}\n{"value":2}\n'
    yield _table("a lone surrogate for a name", surrogate, [None, 2], 1, rows=[0])


def _ids() -> Iterator[Case]:
    refused: dict[str, tuple[str, ...]] = {
        "equal ids": ('"a"', '"a"'),
        "1 and its text": ("1", '"1"'),
        "true and its text": ("true", '"true"'),
        "1 and its escape": ('"\\u0061"', '"a"'),
        "large and its text": (str(2**64), f'"{2**64}"'),
    }
    for name, ids in refused.items():
        yield Case(
            "ids", name, _with_ids(*ids), _IDS, refused=r"names two rows: rows\.jsonl:1 and rows\.jsonl:2"
        )
    apart: dict[str, tuple[str, ...]] = {
        "1 and 1.0": ("1", "1.0"),
        "NFC and NFD": ('"\u00e9"', '"e\u0301"'),
        "upper and lower case": ('"A"', '"a"'),
        "white space": ('"a"', '"a "', '" a"', '""'),
        "2^53 and its neighbour": (str(2**53), str(2**53 + 1)),
        "beyond 64 bits": (str(2**64), str(2**64 + 1)),
        "zeros": ("0", "-0.0", '"00"'),
        "control characters": ('"\\u0000"', '"\\u0001"', '"\\n"'),
        "lone surrogates": ('"\\ud800"', '"\\ud801"', '"\ufffd"'),
        "paths": ('"../../x"', '"/etc/passwd"'),
        "a long one": (f'"{"x" * 100_000}"', '"y"'),
        "lists": ("[1]", "[2]"),
    }
    for name, ids in apart.items():
        yield Case("ids", f"{name} are different", _with_ids(*ids), _IDS, values=list(range(len(ids))))
    for name, absent in {"null": "null", "NaN": "NaN"}.items():
        case = Case("ids", f"{name} for an id", _with_ids(absent, '"b"'), _IDS, either=True, values=[0, 1])
        yield case
    missing = {"rows.jsonl": b'{"value":0}\n{"id":"b","value":1}\n'}
    yield Case(
        "ids", "no id in a row", missing, _IDS, failed={0: "rows.jsonl:1.*null or missing"}, values=[0, 1]
    )
    yield Case(
        "ids", "no id in any row", {"rows.jsonl": b'{"value":0}\n'}, _IDS, refused=r"job\.yaml:\d+: input\.id"
    )


def _with_ids(*ids: str) -> dict[str, bytes]:
    lines = (f'{{"id":{text},"value":{row}}}\n' for row, text in enumerate(ids))
    return {"rows.jsonl": "".join(lines).encode()}


def _zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def _compressed() -> Iterator[Case]:
    for suffix, pack in (("gz", gzip.compress), ("zst", _zstd)):
        name = f"rows.jsonl.{suffix}"
        packed = pack(LINES * 200)
        yield _packed(name, "whole", pack(LINES), values=[1, 2, 3])
        yield _packed(name, "two members in a row", pack(LINES) + pack(LINES), values=[1, 2, 3] * 2)
        yield _packed(name, "of nothing", pack(b""), values=[])
        yield _packed(name, "empty", b"", refused=rf"{name}: ")
        yield _packed(name, "not compressed", LINES, refused=rf"{name}: is no")
        yield _packed(name, "twice compressed", pack(pack(LINES)), refused="but is")
        for cut in (1, 4, len(packed) // 2, len(packed) - 9, len(packed) - 1):
            yield _packed(name, f"cut after {cut}", packed[:cut], refused=rf"{name}: ")
    damaged = _flipped(gzip.compress(LINES * 200), 60)  # zstd has a checksum only where its writer wanted one
    yield _packed("rows.jsonl.gz", "damaged inside", damaged, refused="rows.jsonl.gz: ")
    rubbish = gzip.compress(LINES) + b"rubbish after it"
    yield _packed("rows.jsonl.gz", "rubbish after the end", rubbish, refused="rows.jsonl.gz: ")
    checksum = _flipped(gzip.compress(LINES), -6)
    yield _packed("rows.jsonl.gz", "a wrong checksum", checksum, refused="rows.jsonl.gz: ")
    yield _packed("rows.jsonl.zst", "gzip in it", gzip.compress(LINES), refused="rows.jsonl.zst: is no zstd")
    yield _packed("rows.jsonl.gz", "zlib in it", zlib.compress(LINES), values=[1, 2, 3])


def _packed(file: str, name: str, data: bytes, **ends: Any) -> Case:
    return Case("compressed", f"{file}: {name}", {file: data}, name_of=file, **ends)


def _flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0xFF
    return bytes(changed)


def _large() -> Iterator[Case]:
    text = "x" * 50_000_000
    yield _written(
        "a line of 50 MB", lambda path: path.write_bytes(b'{"value":"%b"}\n' % text.encode()), [text]
    )
    yield _written(
        "a line of 70 MB", lambda path: path.write_bytes(b'{"value":"%b"}\n' % (b"x" * 70_000_000))
    )
    yield _written("100,000 levels", lambda path: path.write_bytes(b'{"value":%b}\n' % (b"[" * 100_000)))
    yield _bomb("a line of 1 GB in 100 kB", b"x")
    yield _written("100,000 levels closed", lambda path: path.write_bytes(_nest(100_000)))


def _nest(levels: int) -> bytes:
    return b'{"value":%b%b}\n' % (b"[" * levels, b"]" * levels)


def _written(name: str, write: Callable[[Path], object], values: list[Any] | None = None) -> Case:
    failed = {} if values else {0: r"^rows\.jsonl:1: "}
    return Case("large", name, {"rows.jsonl": write}, values=values, failed=failed, alone=True)


def _bomb(name: str, byte: bytes) -> Case:
    def write(path: Path) -> None:
        with pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd") as stream:
            stream.write(b'{"value":1}\n')
            for _ in range(1_000):
                stream.write(byte * 1_000_000)

    ends: dict[str, Any] = {"failed": {1: r"^rows\.jsonl\.zst:2: the line is too long"}}
    return Case("large", name, {"rows.jsonl.zst": write}, name_of="rows.jsonl.zst", alone=True, **ends)
