"""Plans of jobs in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from batchrun.job import load_job
from batchrun.planning import Plan, plan
from tests.runs import JobFolder


def planned(job: JobFolder, **options: Any) -> Plan:
    """The plan of a job as it stands in its folder."""
    env = dict(os.environ)
    return plan(load_job(job.job, env=env, cwd=job.folder), env=env, on_rows=lambda _: None, **options)


def job_of(folder: Path, rows: Iterable[Mapping[str, Any]], **sections: Any) -> JobFolder:
    """A job with these rows, whose endpoint nobody asks."""
    job = JobFolder(folder)
    job.rows.write_text("".join(json.dumps(row) + "\n" for row in rows))
    job.write("http://127.0.0.1:1/v1", **sections)
    return job


def asking(content: str) -> dict[str, Any]:
    """A prompt of one message."""
    return {"messages": [{"role": "user", "content": content}]}
