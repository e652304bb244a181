"""All commands, those of groups by both words: `stored list`."""

from __future__ import annotations

import click

from batchrun.cli import cli


def commands() -> dict[str, click.Command]:
    """Each by what stands after `batchrun`, without the groups themselves."""
    context = click.Context(cli)
    found: dict[str, click.Command] = {}
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {f"{name} {word}": one for word, one in command.commands.items()}
        else:
            found[name] = command
    return found
