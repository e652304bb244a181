"""Places in the middle of an input, where reading can begin."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.source import open_source
from batchrun.source.marks import marks
from tests.source.reading import write

_LINE = st.sampled_from(
    [b'{"a": 1}', b'{"a": "two"}', b"", b"  ", b"\r", b"no json", b'{"a": "\xc3\xa4"}\r', b"[1]", b"{" * 300]
)


@settings(max_examples=60, deadline=None)
@given(
    files=st.lists(st.lists(_LINE, max_size=12), min_size=1, max_size=3),
    ends=st.booleans(),
    bom=st.booleans(),
    every=st.integers(1, 60),
)
def test_rows_from_a_mark_are_those_from_the_start(
    files: list[list[bytes]], ends: bool, bom: bool, every: int
) -> None:
    """Wherever it lies: values, numbers, and the lines that are told of."""
    with TemporaryDirectory() as folder:
        _compare(Path(folder), files, ends=ends, bom=bom, every=every)


def _compare(tmp_path: Path, files: list[list[bytes]], *, ends: bool, bom: bool, every: int) -> None:
    for number, lines in enumerate(files):
        data = b"\n".join(lines) + (b"\n" if ends and lines else b"")
        write(tmp_path / f"{number}.jsonl", (b"\xef\xbb\xbf" if bom else b"") + data)
    source = open_source("*.jsonl", root=tmp_path)
    rows = [row for batch in source.batches() for row in batch.rows]
    found = list(marks(source.files, every))
    assert [mark.file for mark in found if not mark.offset] == list(range(len(files)))
    for mark in found:
        after = [row for batch in source.batches(mark=mark) for row in batch.rows]
        assert after == rows[mark.row :]
        wanted = [row.index for row in rows[mark.row :: 2]]
        assert list(source.rows_at(wanted, mark)) == [rows[index] for index in wanted]


def test_files_that_are_read_from_their_start_have_no_marks(tmp_path: Path) -> None:
    """Parquet skips by its footer; quotes of a CSV may hold line ends."""
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "t.parquet")
    write(tmp_path / "t.csv", b"a\n1\n")
    for name in ("t.parquet", "t.csv"):
        assert list(marks(open_source(name, root=tmp_path).files)) == []
