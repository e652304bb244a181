"""What is longer than the terminal, through the user's pager."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from itertools import chain

import click

from batchrun.cli.text import write

_NONE = frozenset({"cat"})
"""What PAGER names where it is to be none."""

_NO_SCREEN = frozenset({"dumb", "emacs"})


def user_pager() -> str | None:
    """The pager that PAGER names, or less; None where there is none, or nobody at a terminal to use it."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    given = os.environ.get("PAGER", "").strip()
    if not given and os.environ.get("TERM", "dumb") in _NO_SCREEN:
        return None
    try:
        program = shlex.split(given or "less")[0]
    except ValueError:  # a quote that is not closed
        return None
    return None if program in _NONE or shutil.which(program) is None else program


def write_long(texts: Iterable[str], pager: str | None) -> None:
    """Write texts to standard output: where there is a pager and they are longer than the screen, there.

    They are asked for as they are read. Raises as `write`.
    """
    if pager is None:
        for text in texts:
            write(text)
        return
    rest = iter(texts)
    begin, is_long = _screenful(rest)
    if not is_long:
        write("".join(begin))
        return
    os.environ.setdefault("LESS", "-R")  # else less shows the sequences that colour a text
    click.echo_via_pager(chain(begin, rest))


def _screenful(texts: Iterator[str]) -> tuple[list[str], bool]:
    """The first of the texts, and whether they are longer than the terminal."""
    begin: list[str] = []
    left = shutil.get_terminal_size().lines
    for text in texts:
        begin.append(text)
        left -= text.count("\n")
        if left <= 0:
            return begin, True
    return begin, False
