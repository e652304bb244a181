"""`batchrun pause`."""

from __future__ import annotations

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import JobArguments, as_json, run_options
from batchrun.cli.text import write_json
from batchrun.wording import clean_line, counted

EXAMPLES = [
    ("Make room for something else at the same endpoint:", "batchrun pause job.yaml"),
    ("By its folder:", "batchrun pause runs/job"),
]


@click.command(cls=Explained, examples=EXAMPLES)
@run_options
@as_json
def command(arguments: JobArguments, as_json: bool) -> None:
    """Let the submit that is running on a run send nothing for now.

    Calls under way land and are kept; the time that rows may take stands still, `budget.wall_time` does not.
    `batchrun resume` goes on. A pause ends with its submit."""
    from batchrun.pausing import pause

    run = arguments.working()
    in_flight = pause(run)
    if as_json:
        write_json({"run_folder": str(run.path), "paused": True, "in_flight": in_flight})
        return
    said = "it will pause before its next call" if in_flight is None else "paused"
    if in_flight:
        said += f", {counted(in_flight, 'call')} under way"
    click.echo(clean_line(f"{said}; to go on: {arguments.again('resume')}"), err=True)
