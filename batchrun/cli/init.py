"""`batchrun init`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import as_json, out_file
from batchrun.cli.text import command_line, shown_path, wrapped, write, write_json
from batchrun.errors import InputError, UsageError
from batchrun.wording import clean, clean_line

if TYPE_CHECKING:
    from batchrun.init import Table, Wish

EXAMPLES = [
    ("Look at the table, ask what is to be done, and write jobs/my.yaml:", "batchrun init my.csv"),
    ("Without questions:", "batchrun init my.csv --task classify --out jobs/classify.yaml"),
    ("For a provider:", "batchrun init my.csv --endpoint openai --model gpt-4.1-mini"),
]


@click.command(cls=Explained, examples=EXAMPLES)
@click.argument("data", required=False)
@click.option(
    "--task",
    type=click.Choice(["classify", "extract", "summarize", "generate"]),
    help="What to do with each row. Default: generate.",
)
@click.option("--endpoint", metavar="NAME", help="Where to send it: a preset. Default: the simulator.")
@click.option("--model", metavar="MODEL", help="The model, by the name that the endpoint gives it.")
@out_file(help="The file to write. Default: jobs/NAME.yaml")
@as_json
def command(
    data: str | None,
    task: str | None,
    endpoint: str | None,
    model: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Write a job file for DATA, a table in JSONL, CSV or Parquet.

    It has comments to begin with, passes `plan`, and runs at once on the simulator. On a terminal, what is
    not given is asked for; elsewhere the task is generate and the endpoint the simulator. No file is ever
    overwritten.
    """
    from batchrun.init import refuse_taken, write_job

    cwd = Path.cwd()
    asking = not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    data, table = _table(data, cwd, asking=asking)
    path = out or _default_out(data)
    refuse_taken(path, cwd)
    wish = _wish(data, table, path, _Given(task, endpoint, model), asking=asking)
    job = write_job(wish, table, cwd)
    if as_json:
        texts = table.texts_for(wish.task)
        write_json({"job": str(job), "id": table.id, "columns": table.columns, "texts": texts})
        return
    write(f"{clean_line(shown_path(job))}\n")
    _say_what_next(wish, table, shown_path(job))


@dataclass(frozen=True, slots=True)
class _Given:
    """What the shell says of the job."""

    task: str | None
    endpoint: str | None
    model: str | None


def _table(data: str | None, cwd: Path, *, asking: bool) -> tuple[str, Table]:
    """The table that is meant, and what is in it; asked for until it can be read."""
    from batchrun.init import inspect_table

    if data is not None:
        return data, inspect_table(data, cwd)
    if not asking:
        raise UsageError(
            "no table is named", hint="Name one in JSONL, CSV or Parquet: batchrun init my.jsonl"
        )
    while True:
        named = click.prompt("Which table (JSONL, CSV or Parquet)", err=True)
        try:
            return named, inspect_table(named, cwd)
        except (UsageError, InputError) as error:
            click.echo(clean(f"{error}"), err=True)


def _wish(data: str, table: Table, out: Path, given: _Given, *, asking: bool) -> Wish:
    from batchrun.init import TASK_KINDS, TaskKind, Wish, checked_endpoint
    from batchrun.job import ANY_MODEL, PRESETS, SIMULATOR

    task, endpoint, model = given.task, given.endpoint, given.model
    has_prompt = not (table.requests or table.messages)
    if asking and task is None and has_prompt:
        task = click.prompt("What shall be done", type=click.Choice(TASK_KINDS), default="classify", err=True)
    if asking and endpoint is None:
        click.echo(wrapped(f"Endpoints: {', '.join(PRESETS)}", sys.stderr), err=True)
        known = click.Choice(list(PRESETS))
        endpoint = click.prompt("Where", type=known, default=SIMULATOR, show_choices=False, err=True)
    endpoint = checked_endpoint(endpoint or SIMULATOR)
    if model is None and table.requests:
        model = ANY_MODEL
    if model is None and endpoint == SIMULATOR:
        model = "small"
    if model is None and asking:
        model = click.prompt(f"Which model, as {endpoint} names it", err=True)
    if model is None:
        raise UsageError(
            f"--endpoint {endpoint} needs --model", hint="Use the name that the endpoint gives it."
        )
    kind: TaskKind = next((known for known in TASK_KINDS if known == task), "generate")
    return Wish(data, kind, endpoint, model, out)


def _default_out(data: str) -> Path:
    stem = Path(data.rstrip("/")).name.partition(".")[0]
    return Path("jobs") / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', stem).strip('-') or 'job'}.yaml"


def _say_what_next(wish: Wish, table: Table, path: str) -> None:
    from batchrun.job import PRESETS

    for line in _said(wish, table):
        click.echo(clean_line(line), err=True)
    click.echo("Next:", err=True)
    variable = PRESETS[wish.endpoint].api_key_env
    if variable is not None and variable not in os.environ:
        click.echo(f"  export {variable}=…", err=True)
    for verb in ("plan", "submit"):
        click.echo(clean_line(f"  {command_line(verb, path)}"), err=True)


def _said(wish: Wish, table: Table) -> Iterator[str]:
    """What was found in the table, and what was not."""
    if table.requests:
        yield "Each row is a whole request, named by its custom_id."
        return
    named = f"rows are named by {table.id}" if table.id else "no column names its rows"
    if table.not_id:
        named += f": {' '.join(table.not_id)}"
    if table.messages is not None:
        yield f"The column {table.messages} holds each row's messages; {named}."
        return
    yield f"The prompt uses {' and '.join(table.texts_for(wish.task))}; {named}."
    if wish.task == "classify" and not table.labels:
        yield "No column of labels was found: put yours into the prompt."
    if table.unnameable:
        left_out = ", ".join(map(repr, table.unnameable))
        yield f"Left out, because a template cannot name them: {left_out}."
