"""`api_key_cmd`: the words of a command that prints a key."""

from __future__ import annotations

import re
import shlex

_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""")
_FOR_A_SHELL = re.compile(r"[|&;<>`]|\$[A-Za-z_({]|(^|\s)~|^\s*[A-Za-z_][A-Za-z0-9_]*=")
"""Pipes and the like, `$VARIABLE`, `~` for the home folder, a `NAME=value` before the command."""


def command_words(command: str | tuple[str, ...]) -> tuple[str, ...]:
    """The words of `command`: a line split as a shell would (POSIX), or words already.

    Raises ValueError, which never quotes the line, for what is no single command: it is run without a
    shell, so that a pipe in it would be a mere argument.
    """
    if isinstance(command, tuple):
        return command
    try:
        words = tuple(shlex.split(command))
    except ValueError:
        raise ValueError("must be a command line whose quotes close") from None  # not chained: it may quote
    if _FOR_A_SHELL.search(_QUOTED.sub("", command)):
        raise ValueError(
            "is run without a shell, and holds what only a shell understands: write a script, "
            'or a list of words, [sh, -c, "…"]'
        )
    return words
