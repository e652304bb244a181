"""The command line: one file a verb, options to one call to an exit code.

This is the only place that catches every error, and the only one that prints.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from batchrun import __version__
from batchrun.cli.asked import Asked
from batchrun.cli.memory import seldom_collecting
from batchrun.cli.mistakes import mistake
from batchrun.cli.signals import EXIT_CODES, Received, stoppable
from batchrun.errors import BatchrunError

_VERBS = {
    "submit": "Bring a job's output up to date with its input.",
    "plan": "Say what a submit would do. Nothing is sent.",
    "status": "Say how a run stands.",
    "pause": "Let a running submit send nothing for now.",
    "resume": "Let a paused submit go on.",
    "cancel": "End the batches that are with a provider.",
    "show": "Look at rows of a run.",
    "export": "Write a run's rows as a file for other programs.",
    "report": "Write a run's report as one HTML file.",
    "diff": "Compare runs row by row.",
    "reparse": "Read stored answers by a new schema, without a call.",
    "stored": "List, read, label and delete what a provider has stored.",
    "init": "Write a job file for a prompt table.",
    "gc": "Drop answers to removed and edited rows.",
    "schema": "Print the job file's JSON Schema.",
    "simulate": "Serve the simulated endpoint.",
}
"""Verb to its help; the module of a verb is imported when it is used."""

_GROUPS = {
    "Before": ("init", "plan"),
    "During": ("submit", "status", "pause", "resume", "cancel"),
    "After": ("show", "export", "report", "diff", "reparse", "stored"),
}
"""When verbs are used, as the help has them; those that are in no group are tools."""

_CONTEXT = {"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "BATCHRUN", "max_content_width": 100}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command = importlib.import_module(f"batchrun.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in _VERBS:
            ctx.fail(_unknown_verb(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, _VERBS))
        others = [verb for verb in _VERBS if not any(verb in verbs for verbs in _GROUPS.values())]
        for heading, verbs in {**_GROUPS, "Tools": others}.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{verb:{width}}", _VERBS[verb]) for verb in verbs])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # here, because click would make it exit code 1: the reader has enough
            return 0


def _unknown_verb(word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, _VERBS, n=1)
    if word.endswith((".yaml", ".yml")):
        return f"{word!r} is no command. Is `batchrun submit {word}` meant?"
    return f"{word!r} is no command.{f' Did you mean {near[0]}?' if near else ''}"


@click.group(
    cls=_Verbs,
    context_settings=_CONTEXT,
    epilog="`batchrun VERB --help` explains a command, with examples.",
)
@click.version_option(__version__, message="batchrun %(version)s")
def cli() -> None:
    """Large offline prompt jobs: a prompt table in, a typed Parquet table out.

    Start with `batchrun submit jobs/quickstart.yaml`; run it again and it continues.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, and end with its exit code."""
    asked = Asked(list(sys.argv[1:] if arguments is None else arguments))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # no text may fail for the terminal's encoding
    last = arguments is None
    with seldom_collecting(last=last), stoppable(last=last) as received:
        sys.exit(_exit_code(asked, received))


def _exit_code(asked: Asked, received: Received) -> int:
    try:
        code = cli.main(asked.words, prog_name="batchrun", standalone_mode=False, obj=asked)
    except (Exception, KeyboardInterrupt) as error:
        if received or isinstance(error, (KeyboardInterrupt, click.Abort)):
            return _stopped(received[0] if received else signal.SIGINT, asked)
        return _failed(error, asked)
    return code if isinstance(code, int) else 0


def _stopped(number: signal.Signals, asked: Asked) -> int:
    kind = "Interrupted" if number == signal.SIGINT else "Terminated"
    _say(lambda: click.echo(kind.lower(), err=True))
    return _ended(kind, kind.lower(), None, EXIT_CODES[number], asked)


def _failed(error: Exception, asked: Asked) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # its message is the help
        _say(lambda: click.echo(error.format_message(), err=True))
        return error.exit_code
    if isinstance(error, click.ClickException):
        asked.look_up(error)
        return _told(mistake(error), asked)
    if isinstance(error, BatchrunError):
        return _told(error, asked)
    # the last resort: everything that no one foresaw is a bug of ours
    trace = "".join(traceback.format_exception(error))
    _say(lambda: _echo(trace, asked.words))
    _say(lambda: click.echo("error: this is a bug in batchrun; what was received is kept", err=True))
    return _ended(type(error).__name__, str(error), None, BatchrunError.exit_code, asked)


def _echo(text: str, words: Sequence[str]) -> None:
    """Write to standard error what the command line, a server or a row may have a part in."""
    from batchrun.cli.keys import without_keys
    from batchrun.wording import clean

    click.echo(clean(without_keys(text, words)), err=True, nl=False)


def _told(error: BatchrunError, asked: Asked) -> int:
    from batchrun.cli.keys import without_keys
    from batchrun.cli.text import wrapped
    from batchrun.wording import clean

    told = clean(without_keys(f"error: {error}", asked.words))
    _say(lambda: click.echo(wrapped(told, sys.stderr), err=True))
    return _ended(type(error).__name__, error.message, error.hint, error.exit_code, asked)


def _ended(kind: str, message: str, hint: str | None, exit_code: int, asked: Asked) -> int:
    """Tell a program that asked for JSON what happened."""
    if asked.wants_json:
        from batchrun.cli.keys import without_keys
        from batchrun.wording import escaped

        words = asked.words
        message, hint = without_keys(message, words), hint and without_keys(hint, words)
        about = {"type": kind, "message": message, "hint": hint, "exit_code": exit_code}
        _say(lambda: click.echo(escaped(json.dumps({"error": about}))))
    return exit_code


def _say(speak: Any) -> None:
    """Speak, if anybody still listens: the exit code counts more."""
    with suppress(OSError):
        speak()
