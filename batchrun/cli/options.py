"""Options that several verbs share, and what they mean together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")


def job_options(command: _Command) -> _Command:
    """The job file and what the shell changes in it."""
    options = [
        click.argument("job", type=click.Path(path_type=Path)),
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a value of the job: request.temperature=0.5"),
        click.option("--name", metavar="NAME", help="Another name, and so another run folder."),
        click.option("--model", metavar="ENDPOINT/MODEL", help="Another model than the job's."),
        click.option("--env-file", type=click.Path(path_type=Path), help="Read variables (API keys) from this file."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def environment(env_file: Path | None) -> Mapping[str, str]:
    """The environment, with the variables of `--env-file` where it does not set them."""
    from batchrun.job import read_env_file

    return {**(read_env_file(env_file) if env_file else {}), **os.environ}


__all__ = ["as_json", "environment", "job_options", "wraps"]
