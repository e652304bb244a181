"""`batchrun init`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchrun.cli.options import as_json
from batchrun.cli.text import command_line, shown_path, write, write_json
from batchrun.errors import UsageError
from batchrun.wording import clean_line

if TYPE_CHECKING:
    from batchrun.init import Table, Wish

_SIMULATOR = "simulator"


@click.command()
@click.argument("data")
@click.option(
    "--task", type=click.Choice(["classify", "extract", "summarize", "generate"]), help="What to do."
)
@click.option("--endpoint", metavar="NAME", help="Where to send it: a preset. Default: the simulator.")
@click.option("--model", metavar="MODEL", help="What the endpoint calls the model.")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write. Default: jobs/NAME.yaml")
@as_json
def command(
    data: str, task: str | None, endpoint: str | None, model: str | None, out: Path | None, as_json: bool
) -> None:
    """Write a job file for DATA, a table in JSONL, CSV or Parquet.

    It has comments to begin with, passes `plan`, and runs at once on the simulator. No file is ever
    overwritten.
    """
    from batchrun.init import look, write_job

    cwd = Path.cwd()
    table = look(data, cwd)
    asking = not as_json and task is endpoint is model is None and sys.stdin.isatty() and sys.stderr.isatty()
    wish = _wish(data, task, endpoint, model, out, asking=asking)
    path = write_job(wish, table, cwd)
    if as_json:
        write_json({"job": str(path), "id": table.id, "columns": table.columns, "texts": table.texts})
        return
    write(f"{clean_line(shown_path(path))}\n")
    _say_what_next(table, shown_path(path))


def _wish(
    data: str, task: str | None, endpoint: str | None, model: str | None, out: Path | None, *, asking: bool
) -> Wish:
    from batchrun.init import TASK_KINDS, TaskKind, Wish, checked_endpoint
    from batchrun.job import PRESETS

    if asking:
        task = click.prompt("What shall be done", type=click.Choice(TASK_KINDS), default="classify", err=True)
        endpoint = click.prompt("Where", type=click.Choice(list(PRESETS)), default=_SIMULATOR, err=True)
        if endpoint != _SIMULATOR:
            model = click.prompt("Which model", err=True)
    endpoint = checked_endpoint(endpoint or _SIMULATOR)
    if model is None and endpoint != _SIMULATOR:
        raise UsageError(
            f"--endpoint {endpoint} needs --model", hint="Use the name that the endpoint gives it."
        )
    kind: TaskKind = next((known for known in TASK_KINDS if known == task), "generate")
    return Wish(data, kind, endpoint, model or "small", out or _default_out(data))


def _default_out(data: str) -> Path:
    stem = Path(data.rstrip("/")).name.partition(".")[0]
    return Path("jobs") / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', stem).strip('-') or 'job'}.yaml"


def _say_what_next(table: Table, path: str) -> None:
    named = f"rows are named by {table.id}" if table.id else "no column names its rows"
    if table.not_id:
        named += f": {' '.join(table.not_id)}"
    click.echo(clean_line(f"The prompt uses {' and '.join(table.texts)}; {named}."), err=True)
    if table.unnameable:
        left_out = ", ".join(map(repr, table.unnameable))
        said = f"Left out, because a template cannot name them (letters, digits and _ can be): {left_out}."
        click.echo(clean_line(said), err=True)
    click.echo("Next:", err=True)
    for verb in ("plan", "submit"):
        click.echo(clean_line(f"  {command_line(verb, path)}"), err=True)
