"""`submit` in a process of its own, with shorter times than the command's: uploads, and leases."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from batchrun.errors import BatchrunError
from batchrun.job import load_job
from batchrun.submitting.options import Options
from batchrun.submitting.submit import submit
from tests.runs import Silent


class _Printing(Silent):
    def say(self, text: str) -> None:
        click.echo(text, err=True)


def main(job: str, interval: str, lease: str, seal_rows: str, drain: str) -> int:
    """Submit a job; says on stderr what the user is told, and ends with the command's exit code."""
    options = Options(
        upload_interval=float(interval), lease=float(lease), seal_rows=int(seal_rows), drain=float(drain)
    )
    env = dict(os.environ)
    try:
        summary = submit(load_job(Path(job), env=env, cwd=Path.cwd()), options, env=env, progress=_Printing())
    except BatchrunError as error:
        click.echo(str(error), err=True)
        return error.exit_code
    click.echo(f"{summary.ok} {summary.failed} {summary.pending}")
    return summary.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
