"""`batchrun schema`."""

from __future__ import annotations

import json

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import as_json
from batchrun.cli.text import write

EXAMPLES = [
    (
        "For an editor: complete and check job files while they are written:",
        "batchrun schema > jobs/job.schema.json",
    ),
    ("On one line, for a program:", "batchrun schema --json"),
]


@click.command(cls=Explained, examples=EXAMPLES)
@as_json
def command(as_json: bool) -> None:
    """Print the JSON Schema of the job file, for editors.

    Job files whose first line is `# yaml-language-server: $schema=job.schema.json` are then completed
    and checked while they are written.
    """
    from batchrun.job import job_schema

    write(json.dumps(job_schema(), indent=None if as_json else 2, ensure_ascii=False) + "\n")
