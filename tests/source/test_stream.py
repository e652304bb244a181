"""Bytes become lines with bounded memory, and damaged files are refused with the place of the damage."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.errors import InputError
from batchrun.source.stream import Overlong, split_lines
from tests.source.reading import read_rows, read_values, write


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


COMPRESS = {".gz": gzip.compress, ".zst": zstd}


@given(parts=st.lists(st.text("ab\n\r", max_size=12).map(str.encode), max_size=8))
def test_lines_do_not_depend_on_the_chunks(parts: list[bytes]) -> None:
    """However the bytes arrive, the lines are those between newlines; no last empty one."""
    whole = b"".join(parts).split(b"\n")
    expected = whole if whole[-1] else whole[:-1]
    assert expected == [line for lines in split_lines(filter(None, parts)) for line in lines]


@given(data=st.text("ab\n", max_size=60).map(str.encode), step=st.integers(1, 9), limit=st.integers(1, 9))
def test_overlong_lines_do_not_depend_on_the_chunks(data: bytes, step: int, limit: int) -> None:
    """A line beyond the limit is told by its size, start and digest, the same for every chunking."""

    def lines(size: int) -> list[bytes | Overlong]:
        parts = (data[at : at + size] for at in range(0, len(data), size))
        return [line for found in split_lines(parts, limit) for line in found]

    assert lines(len(data) + 1) == lines(step)
    assert [len(line) > limit for line in data.removesuffix(b"\n").split(b"\n") if data] == [
        isinstance(line, Overlong) for line in lines(step)
    ]


def test_an_endless_line_is_not_held() -> None:
    """64 MB without a newline pass through a reader with a 1 MB limit in a few MB of memory."""

    def parts() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 2**20

    tracemalloc.start()
    (line,) = (line for lines in split_lines(parts(), 2**20) for line in lines)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(line, Overlong)
    assert line.size == 2**26
    assert peak < 8 * 2**20


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_compressed_files_read_like_plain_ones(tmp_path: Path, suffix: str, kind: str) -> None:
    """gzip and zstd are read by suffix, several members or frames in a row included."""
    data = {"jsonl": (b'{"a":"1"}\n', b'{"a":"2"}\n'), "csv": (b"a\n1\n", b"2\n")}[kind]
    path = write(tmp_path / f"t.{kind}{suffix}", b"".join(map(COMPRESS[suffix], data)))
    assert read_values(path) == [{"a": "1"}, {"a": "2"}]


@cache
def _lines() -> bytes:
    numbers = random.Random(7)
    return b"".join(b'{"a":"%d"}\n' % numbers.getrandbits(256) for _ in range(20_000))


def _flipped(data: bytes) -> bytes:
    return data[:-6] + bytes([data[-6] ^ 0xFF]) + data[-5:]


DAMAGE: dict[str, Callable[[str], bytes]] = {
    "not compressed": lambda suffix: b'{"a":1}\n',
    "empty": lambda suffix: b"",
    "cut in the first bytes": lambda suffix: COMPRESS[suffix](_lines())[:7],
    "cut in the middle": lambda suffix: COMPRESS[suffix](_lines())[:-100_000],
    "cut before the last byte": lambda suffix: COMPRESS[suffix](_lines())[:-1],
    "the other kind": lambda suffix: COMPRESS[".gz" if suffix == ".zst" else ".zst"](_lines()),
    "followed by something else": lambda suffix: COMPRESS[suffix](_lines()) + b"garbage",
}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_compressed_files_are_refused(tmp_path: Path, suffix: str, name: str) -> None:
    """A compressed file that does not read to its end is refused, named, and says what to do."""
    path = write(tmp_path / f"t.jsonl{suffix}", DAMAGE[name](suffix))
    with pytest.raises(InputError, match=rf"t\.jsonl\{suffix}: (is no|the) (gzip|zstd)") as caught:
        read_rows(path)
    assert caught.value.hint


def test_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    """gzip's own checksum is verified: a flipped bit is never read as data."""
    path = write(tmp_path / "t.jsonl.gz", _flipped(gzip.compress(_lines())))
    with pytest.raises(InputError, match=r"damaged or cut short, after [0-9,]+ decompressed bytes"):
        read_rows(path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.jsonl", gzip.compress(b"{}"), "is gzip data"),
        ("t.jsonl", zstd(b"{}"), "is zstd data"),
        ("t.csv", b"PAR1....", "is a Parquet file"),
        ("t.csv", b"PK\x03\x04....", "is a zip archive"),
        ("t.jsonl", '{"a":1}'.encode("utf-16"), "is UTF-16"),
        ("t.jsonl.gz", gzip.compress(gzip.compress(b"{}")), "is gzip data"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_of_another_kind_are_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    """Bytes that are no text are recognised, instead of read as one bad row after the other."""
    with pytest.raises(InputError, match=message) as caught:
        read_rows(write(tmp_path / name, data))
    assert caught.value.hint
