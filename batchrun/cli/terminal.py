"""rich's side of the terminal: consoles, and labelled lines that wrap under themselves.

Only `Text` objects are printed, never markup: nothing that a model wrote is read as a style.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import IO, cast

from rich.console import Console
from rich.text import Text

from batchrun.cli.text import Lenient, write
from batchrun.wording import clean, clean_line

INDENT = 14
"""Columns before the text of a labelled line."""

_UNBROKEN = 1_000_000
"""Columns of a file or a pipe: lines are not broken there."""


def error_console() -> Console:
    """The console on standard error; it never fails."""
    stream = cast(IO[str], Lenient(sys.stderr))
    return _console(stream)


@contextmanager
def output() -> Iterator[Console]:
    """A console whose text goes to standard output when the block ends."""
    text = StringIO()
    yield _console(sys.stdout, written_to=text)
    write(text.getvalue())


def drawn(draw: Callable[[Console], None]) -> str:
    """What `draw` prints on a console like that of standard output."""
    text = StringIO()
    draw(_console(sys.stdout, written_to=text))
    return text.getvalue()


def _console(stream: IO[str], *, written_to: IO[str] | None = None) -> Console:
    """A console with the width and the colours of `stream`."""
    is_terminal = stream.isatty()
    return Console(
        file=written_to or stream,
        width=Console(file=stream).width if is_terminal else _UNBROKEN,
        force_terminal=is_terminal or None,  # None: as the environment says (FORCE_COLOR)
        highlight=False,
        markup=False,
        emoji=False,
        color_system=None if os.environ.get("NO_COLOR") else "auto",  # rich would leave bold and dim
    )


def headline(console: Console, text: str, style: str = "bold") -> None:
    """A line that says the main thing."""
    console.print(Text(clean_line(text), style=style))


def fact(console: Console, label: str, text: str, *, style: str = "", whole: bool = False) -> None:
    """A labelled line. `whole` keeps a path or a command in one piece, so that it can be copied."""
    body = Text(clean(text), style=style)
    lines = list(body.split("\n") if whole else body.wrap(console, max(20, console.width - INDENT)))
    for number, line in enumerate(lines or [Text("")]):
        line.rstrip()
        head = f"  {clean_line(label):<{INDENT - 3}} " if number == 0 else " " * INDENT
        shown = Text(head, style="dim") + line
        shown.rstrip()  # of an empty line
        console.print(shown, soft_wrap=True)
