"""Calls under way are fewer than the files that a process may open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchrun.engines.open_files import OTHERS, fitting
from batchrun.job import load_job
from tests.runs import JobFolder, write_rows


@pytest.mark.parametrize(
    ("limits", "urls", "files", "expected"),
    [
        ({"concurrency": 200}, 1, OTHERS + 50, 50),
        ({"concurrency": 20}, 1, OTHERS + 50, 20),
        ({"concurrency": "auto"}, 1, OTHERS + 50, 50),
        ({"concurrency": "auto"}, 1, 100_000, 512),
        ({"concurrency": 200}, 2, OTHERS + 50, 50),
        ({"concurrency": 200}, 1, 10, 1),
    ],
)
def test_concurrency_keeps_within_the_open_files(
    tmp_path: Path, limits: dict[str, Any], urls: int, files: int, expected: int
) -> None:
    """What the job allows, or what fits; one at least."""
    job = JobFolder(tmp_path)
    write_rows(job.rows, 1)
    addresses = [f"http://127.0.0.1:{port}/v1" for port in range(9, 9 + urls)]
    job.write("", endpoints={"local": {"base_url": addresses, "limits": limits}})
    loaded = load_job(job.job, env={}, cwd=tmp_path)
    assert fitting(loaded, files).endpoints["local"].limits.most_in_flight == expected
