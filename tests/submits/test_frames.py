"""Frames as the input: what cannot be kept is said, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import batchrun
from batchrun.errors import InputError, StorageError
from batchrun.submitting.frames import Frame, rows_of, write_rows
from tests.runs import JobFolder
from tests.small_files import files_of_at_most


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    """A job that nothing answers."""
    found = JobFolder(tmp_path)
    found.write("http://127.0.0.1:9")
    return found


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pl.DataFrame({"x": pl.Series([2**70], dtype=pl.Int128)}), "column 'x' of the frame is Int128"),
        (pl.DataFrame({"x": [object()]}), "column 'x' of the frame is Object"),
        (
            pl.DataFrame({"x": [[{"y": 1}]]}, schema={"x": pl.List(pl.Struct({"y": pl.UInt128}))}),
            "column 'x' of the frame is List(Struct({'y': UInt128}))",
        ),
        (pl.DataFrame({"x": [{}]}), "column 'x' of the frame is Struct({})"),
        (pl.scan_parquet("nope.parquet"), "the frame cannot be computed: No such file or directory"),
        (pl.LazyFrame({"x": [1]}).select("y"), 'the frame cannot be computed: unable to find column "y"'),
    ],
)
def test_a_frame_that_cannot_be_kept_is_refused(job: JobFolder, frame: Frame, said: str) -> None:
    """Before there is a run folder."""
    with pytest.raises(InputError) as caught:
        batchrun.submit(job.job, frame, show=False)
    assert caught.value.message.startswith(said)
    assert "the disk" not in (caught.value.hint or "the disk")
    assert not job.run.exists()


def calling(work: Callable[[], Any]) -> pl.LazyFrame:
    """A frame that does this while its rows are computed."""
    return pl.LazyFrame({"x": [1]}).select(
        pl.col("x").map_elements(lambda value: work() or value, return_dtype=pl.Int64)
    )


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (
            pl.LazyFrame({"x": ["a"]}).cast({"x": pl.Int64}),
            "conversion from `str` to `i64` failed in column 'x'",
        ),
        (calling(lambda: 1 // 0), "ZeroDivisionError: integer division or modulo by zero"),
        (calling(lambda: Path("nope").stat()), "[Errno 2] No such file or directory: 'nope'"),
    ],
)
def test_rows_that_cannot_be_computed_are_no_fault_of_the_disk(
    job: JobFolder, frame: pl.LazyFrame, said: str
) -> None:
    """The error is the frame's own, and no part of a file is left."""
    with pytest.raises(InputError) as caught:
        batchrun.submit(job.job, frame, show=False)
    assert caught.value.message.startswith(f"the frame cannot be computed: {said}")
    assert "mend the frame" in (caught.value.hint or "")
    assert list(job.run.glob("input*")) == []


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    """Polars has no number for it."""
    rows = rows_of(pl.DataFrame({"x": [str(number**9) for number in range(100_000)]}))
    with files_of_at_most(10_000), pytest.raises(StorageError, match="File too large"):
        write_rows(rows, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_frames_that_are_written_at_once_are_two_files(tmp_path: Path) -> None:
    """None of two submits holds the lock while it writes its frame."""
    written = []
    first = calling(lambda: written.append(write_rows(rows_of(pl.DataFrame({"x": [2]})), tmp_path)))
    written.append(write_rows(rows_of(first), tmp_path))
    assert [pl.read_parquet(path)["x"].to_list() for path in written] == [[2], [1]]
    assert sorted(tmp_path.iterdir()) == sorted(written)
