"""The jobs that ship with batchrun, and the schema beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator

from batchrun.job import job_schema, load_job
from batchrun.submitting.options import Options
from batchrun.submitting.submit import submit
from tests.runs import Silent

JOBS = Path(__file__).parent.parent / "jobs"


def test_the_schema_beside_the_jobs_is_the_programs() -> None:
    """jobs/job.schema.json, which the editors' modeline names, is what `batchrun schema` prints."""
    assert json.loads((JOBS / "job.schema.json").read_text()) == job_schema()


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_job_loads_and_satisfies_the_schema(path: Path) -> None:
    """Every example is a right job file, for the program and for an editor that reads its modeline."""
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=job.schema.json\n")
    Draft7Validator(job_schema()).validate(yaml.safe_load(text))
    job = load_job(path, env=dict(os.environ), cwd=Path.cwd())
    assert job.output_address or job.output_path == JOBS.parent / "runs" / job.name


OFFLINE = [
    path
    for path in sorted(JOBS.glob("*.yaml"))
    if "model: simulator/" in path.read_text() and path.stem != "ray"  # tests/cluster runs that one
]


def test_each_feature_has_a_job_that_runs_offline() -> None:
    """So that everything can be tried before a key is bought."""
    assert {path.stem for path in OFFLINE} >= {
        *("quickstart", "classify", "labels", "extract", "vision", "audio", "files"),
        *("fewshot", "turns", "tools", "chats", "batch", "budget", "provider_batch"),
    }


@pytest.mark.parametrize("path", OFFLINE, ids=lambda path: path.stem)
def test_each_offline_job_runs(path: Path, tmp_path: Path) -> None:
    """As it is, without a key or a network; every row is answered."""
    job = load_job(path, sets=[f"output.path={tmp_path / 'run'}"], env=dict(os.environ), cwd=Path.cwd())
    summary = submit(job, Options(limit=10), env=dict(os.environ), progress=Silent())
    assert (summary.exit_code, summary.failed) == (0, 0)
    assert summary.ok == min(10, summary.rows)
