"""`batchrun resume`."""

from __future__ import annotations

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import JobArguments, as_json, run_options
from batchrun.cli.text import write_json
from batchrun.wording import clean_line

EXAMPLES = [
    ("Go on:", "batchrun resume job.yaml"),
    ("By its folder:", "batchrun resume runs/job"),
]


@click.command(cls=Explained, examples=EXAMPLES)
@run_options
@as_json
def command(arguments: JobArguments, as_json: bool) -> None:
    """Let a paused submit go on."""
    from batchrun.pausing import resume

    run = arguments.working()
    in_flight = resume(run)
    if as_json:
        write_json({"run_folder": str(run.path), "paused": False, "in_flight": in_flight})
        return
    said = "it will go on" if in_flight is None else "resumed"
    click.echo(clean_line(f"{said}; to look at it: {arguments.again('status')}"), err=True)
