"""The index that a survey keeps on disk: it stands for the rows of its own job, or for nothing."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from batchrun.errors import StorageError
from batchrun.job import load_job
from batchrun.run_folder.folder import RunFolder
from batchrun.survey.survey import take_survey
from tests.runs import JobFolder, write_rows

EDITED = {"messages": [{"role": "user", "content": "{{ text }} Be brief."}]}


def surveyed(job: JobFolder) -> pl.DataFrame:
    """The rows as the holder of the run folder's lock finds them."""
    loaded = load_job(job.job, env=dict(os.environ), cwd=job.folder)
    RunFolder(loaded.output_path).claim(loaded.name)
    return take_survey(loaded, on_rows=lambda _: None, keep_index=True).rows


def job_of(folder: Path, rows: int) -> JobFolder:
    job = JobFolder(folder)
    write_rows(job.rows, rows)
    job.write("http://127.0.0.1:9/v1")
    return job


def test_a_damaged_index_is_made_anew(tmp_path: Path) -> None:
    """Whichever byte the disk has changed, the rows are those of the input."""
    job = job_of(tmp_path, 40)
    rows, index = surveyed(job), job.checkpoint / "index.parquet"
    sound = index.read_bytes()
    for at in range(0, len(sound), 13):
        index.write_bytes(sound[:at] + bytes([sound[at] ^ 4]) + sound[at + 1 :])
        assert surveyed(job).equals(rows), f"byte {at}"


def test_an_index_is_never_taken_for_that_of_the_job_before(tmp_path: Path) -> None:
    """An edit, an end between the files of its index, the edit taken back: the rows are the first ones."""
    job = job_of(tmp_path, 3)
    rows, was = surveyed(job), job.job.read_text()
    job.edit(prompt=EDITED)
    obstacle = job.checkpoint / "index.json.tmp"
    obstacle.mkdir()
    with pytest.raises(StorageError, match=r"index\.json"):
        surveyed(job)
    assert not pl.read_parquet(job.checkpoint / "index.parquet").equals(rows), "the new one is there"
    obstacle.rmdir()
    job.job.write_text(was)
    assert surveyed(job).equals(rows)
