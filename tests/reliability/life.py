"""One life of a job, to be killed: `python -m tests.reliability.life JOB [--limit N] [--seal-rows N]`.

The same as `batchrun submit`, with journal files sealed after few rows, so that small jobs have many.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import batchrun
from batchrun.errors import BatchrunError
from batchrun.job import load_job
from batchrun.submitting.options import Options
from batchrun.submitting.submit import submit
from tests.runs import JobFolder, Silent

ROOT = Path(batchrun.__file__).parents[1]

SEAL_ROWS = 15
"""Finished rows of a journal file, unless a job has its own number."""


def command(job: JobFolder, *, limit: int | None = None, seal_rows: int = SEAL_ROWS) -> list[str]:
    """The words that start a life, from the folder ROOT."""
    words = [sys.executable, "-m", "tests.reliability.life", str(job.job), f"--seal-rows={seal_rows}"]
    return words if limit is None else [*words, f"--limit={limit}"]


def start(words: list[str]) -> subprocess.Popen[bytes]:
    """Start a life that says nothing."""
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> int:
    """Submit the job that the shell names; its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seal-rows", type=int, default=SEAL_ROWS)
    asked = parser.parse_args()
    env = dict(os.environ)
    job = load_job(asked.job, env=env, cwd=asked.job.parent)
    options = Options(limit=asked.limit, seal_rows=asked.seal_rows)
    try:
        return submit(job, options, env=env, progress=Silent()).exit_code
    except BatchrunError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
