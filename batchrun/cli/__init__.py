"""The command line: one file a verb, options to one call to an exit code.

This is the only place that catches every error, and the only one that prints.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click

from batchrun.errors import BatchrunError

_VERBS = {
    "submit": "Bring a job's output up to date with its input.",
    "plan": "Say what a submit would do. Nothing is sent.",
    "status": "Say how a run stands.",
    "show": "Look at rows of a run.",
    "init": "Write a job file for a prompt table.",
    "gc": "Drop answers to removed and edited rows.",
    "schema": "Print the job file's JSON Schema.",
    "simulate": "Serve the simulated endpoint.",
}
"""Verb to its help; the module of a verb is imported when it is used."""


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command = importlib.import_module(f"batchrun.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "BATCHRUN"})
@click.version_option(package_name="batchrun", message="batchrun %(version)s")
def cli() -> None:
    """Large offline prompt jobs: a prompt table in, a typed Parquet table out.

    Start with `batchrun submit jobs/quickstart.yaml`; run it again and it continues.
    """


def main() -> None:
    """Run a command, and end with its exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except BatchrunError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except Exception:  # noqa: BLE001 - the last resort: everything else is a bug of ours
        traceback.print_exc()
        click.echo("error: this is a bug in batchrun; what was received is kept", err=True)
        code = 70
    sys.exit(code if isinstance(code, int) else 0)
