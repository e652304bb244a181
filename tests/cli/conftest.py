"""One simulator for all tests of the commands, and one finished run that they only read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchrun.simulator import SimulatorConfig
from tests.cli.workspace import workspace_in
from tests.commands import batchrun
from tests.runs import JobFolder, write_rows
from tests.simulators import start_simulator

ROWS = 40
BAD, REFUSED = "r000003", "r000005"

_CONFIG = {
    "faults": [
        {"model": "locked", "status": 401},
        {"model": "broken", "status": 400},
        {"model": "slow", "stall": 60},
        {"match": "row 000004:", "model": "stuck", "stall": 60},
        {"model": "later", "status": 429, "retry_after": 3600},
        {"match": "row 000004:", "model": "half", "first": 1, "stall": 60},
        {"match": "row 000003:", "model": "small", "status": 400},
        {"match": "row 000005:", "model": "small", "answer": "refusal"},
    ]
}

NewJob = Callable[..., JobFolder]


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The base URL of a simulator whose models fail as their names say."""
    with start_simulator(SimulatorConfig.model_validate(_CONFIG)) as base_url:
        yield base_url


@pytest.fixture
def new_job(tmp_path: Path, endpoint: str) -> NewJob:
    """Makes a job of so many rows in an own folder; of 3 rows, none fails with model small."""

    def make(rows: int = 3, **sections: object) -> JobFolder:
        job = JobFolder(tmp_path)
        write_rows(job.rows, rows)
        job.write(endpoint, **sections)
        return job

    return make


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, endpoint: str) -> JobFolder:
    """A finished run in which one row was refused and one was wrong. Not to be changed."""
    job = JobFolder(tmp_path_factory.mktemp("run"))
    write_rows(job.rows, ROWS)
    job.write(endpoint)
    assert batchrun("submit", "job.yaml", cwd=job.folder).code == 1
    return job


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a table, a job, and a run of it for each of two models. Not to be changed."""
    folder = tmp_path_factory.mktemp("workspace")
    with workspace_in(folder):
        yield folder


@pytest.fixture
def workspace(runs: Path, tmp_path: Path) -> Path:
    """A copy for one test, which may change it."""
    return Path(shutil.copytree(runs, tmp_path / "workspace", symlinks=True))
