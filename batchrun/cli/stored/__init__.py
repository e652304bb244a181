"""`batchrun stored`: a group of commands."""

from __future__ import annotations

import click

from batchrun.cli.stored import change, export, look, remove


@click.group(short_help="List, read, label and delete what a provider has stored.")
def command() -> None:
    """Completions that were sent with `store: true`, and stay with their provider.

    A job file, or a run folder, as the first word says where: at the endpoint of the job's model, or at
    another of the job's that --endpoint names. Without one, --endpoint names a preset or a base URL.
    """


for name, verb in {
    "list": look.list_command,
    "get": look.get_command,
    "messages": look.messages_command,
    "update": change.command,
    "delete": remove.command,
    "export": export.command,
}.items():
    command.add_command(verb, name)
