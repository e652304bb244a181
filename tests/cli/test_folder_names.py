"""A folder may be called anything: what stands for other names elsewhere is part of its own name here."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.cli.conftest import BAD, REFUSED
from tests.commands import batchrun
from tests.runs import JobFolder, write_rows


@pytest.mark.parametrize(("name", "fitting"), [("p[1]", "p1"), ("p*", "pq")])
def test_every_command_reads_the_run_that_is_named(
    tmp_path: Path, endpoint: str, name: str, fitting: str
) -> None:
    """Never the one beside it, whose name the first one's would stand for in a pattern."""
    for folder, rows in ((name, 6), (fitting, 9)):
        job = JobFolder(tmp_path / folder)
        job.folder.mkdir()
        write_rows(job.rows, rows)
        job.write(endpoint, checks={})
        submitted = batchrun("submit", "job.yaml", cwd=job.folder)
        assert submitted.code == 0, submitted.err
        assert f"{BAD}: " in submitted.err
        assert batchrun("submit", "job.yaml", "--name", "other", cwd=job.folder).code == 0
    ids = [f"r{number:06d}" for number in range(6)]
    here = tmp_path / name
    for words in (["show", "job.yaml", "--json"], ["export", "job.yaml"]):
        ended = batchrun(*words, cwd=here)
        assert [row["row_id"] for row in ended.lines] == ids
    assert batchrun("submit", "job.yaml", "--limit", "1", "--json", cwd=here).json["rows"] == 6
    assert batchrun("status", "job.yaml", "--json", cwd=here).json["failed"] == 2
    assert batchrun("plan", "job.yaml", "--json", cwd=here).json["rows"]["ok"] == 4
    assert batchrun("diff", "job.yaml", "runs/other", "--json", cwd=here).json["rows_in_all"] == 6
    assert batchrun("report", "job.yaml", "--out", "page.html", cwd=here).code == 0
    assert (here / "page.html").read_text().count(REFUSED) > 0


def test_the_line_that_reads_the_results_reads_them(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where polars would take their folder for a pattern."""
    job = JobFolder(tmp_path / "p[1]")
    job.folder.mkdir()
    write_rows(job.rows, 2)
    job.write(endpoint)
    monkeypatch.chdir(tmp_path)
    told = batchrun("submit", job.job).err
    line = next(line for line in told.splitlines() if "read them" in line)
    assert len(eval(line.split("read them")[1].strip(), {"pl": pl})) == 2
