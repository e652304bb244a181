"""Run folders that a copy has changed: links become folders."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from batchrun.errors import StorageError
from batchrun.run_folder.results.publish import Publisher
from tests.commands import batchrun
from tests.runs import JobFolder, simulated, write_rows


def follow_links(job: JobFolder) -> None:
    """Put a copy of the run folder that follows links in its place."""
    shutil.copytree(job.run, copy := job.folder / "copy")
    shutil.rmtree(job.run)
    copy.rename(job.run)


def test_a_copy_without_links_is_refused_before_the_first_call(tmp_path: Path) -> None:
    """With 2 and the command that mends it: after that the new rows are asked, and the old ones are not."""
    with simulated(tmp_path, rows=4) as job:
        job.submit_here()
        follow_links(job)
        write_rows(job.rows, 6)
        refused = job.submit()
        assert (refused.code, len(job.calls())) == (2, 4)
        assert f"{job.run / 'results'} is a folder" in refused.err
        assert "Free some space" not in refused.err
        (mend,) = [line.partition(": ")[2] for line in refused.err.splitlines() if "mv " in line]
        subprocess.run(shlex.split(mend), check=True)
        summary = job.submit_here()
        assert (summary.exit_code, summary.ok, len(job.calls())) == (0, 6, 6)
        assert (job.run / "results").is_symlink()
        assert job.results()["row_index"].to_list() == list(range(6))


def test_a_copy_without_links_can_be_read(tmp_path: Path) -> None:
    """Only a submit needs the link."""
    with simulated(tmp_path, rows=2) as job:
        job.submit_here()
        follow_links(job)
        exported = batchrun("export", str(job.run), "--format", "jsonl")
        assert (exported.code, len(exported.out.splitlines())) == (0, 2)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "Free some space, then submit again"),
        (errno.EDQUOT, "Free some space, then submit again"),
        (errno.EIO, "Put that right, then submit again"),
        (errno.EACCES, "Put that right, then submit again"),
    ],
)
def test_room_is_asked_for_where_there_is_none(
    number: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Freeing space helps against a full disk alone."""

    def refuse(*_: object) -> bool:
        raise OSError(number, os.strerror(number))

    with simulated(tmp_path, rows=1) as job:
        monkeypatch.setattr(Publisher, "publish", refuse)  # no disk can be made to fail in each of these ways
        with pytest.raises(StorageError, match="cannot publish the results") as caught:
            job.submit_here()
    assert caught.value.hint == f"Every answer is kept. {told}."
