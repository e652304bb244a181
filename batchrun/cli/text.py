"""Paths and commands as the shell has them, and the one way to standard output."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from batchrun.errors import StorageError

if TYPE_CHECKING:
    from rich.console import Console


def shown_path(path: str | Path) -> str:
    """A path as short as it can be said here: relative when it lies below the shell's folder."""
    with suppress(ValueError):
        return str(Path(path).relative_to(Path.cwd()))
    return str(path)


def command_line(*words: str | Path) -> str:
    """A command that can be pasted into a shell."""
    return shlex.join(["batchrun", *map(str, words)])


def wrapped(text: str, stream: TextIO) -> str:
    """Break lines between words where a terminal would break them anywhere; elsewhere as it is."""
    if not stream.isatty():
        return text
    width = max(20, shutil.get_terminal_size().columns - 1)
    fill = partial(textwrap.fill, width=width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(
        fill(line, subsequent_indent="  ", drop_whitespace=True) if len(line) > width else line
        for line in text.split("\n")
    )


def write(text: str | bytes) -> None:
    """Write to standard output, bytes as they are.

    Raises BrokenPipeError when whoever read it has enough, and StorageError.
    """
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        _silence(sys.stdout)
        raise
    except OSError as error:
        _silence(sys.stdout)
        raise StorageError(
            f"cannot write to standard output: {error.strerror}",
            hint="Free some space there, then run the same command again: it repeats no call.",
        ) from error


def write_json(document: Any) -> None:
    """Write one JSON value as one line, with escapes for what a terminal would obey."""
    from batchrun.wording import json_line

    line, encoding = json_line(document), getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        line.encode(encoding)
    except UnicodeEncodeError:  # JSON has escapes of its own; those of the stream would be no JSON
        line = json.dumps(json.loads(line), separators=(",", ":"))
    write(line + "\n")


def answer(document: Any, tell: Callable[[Console], None], *, as_json: bool) -> None:
    """Write what a verb has found to standard output: as JSON, or as `tell` draws it.

    A reader that has had enough is none of its business: the exit code counts more. Raises StorageError.
    """
    with suppress(BrokenPipeError):
        if as_json:
            write_json(document)
            return
        from batchrun.cli.terminal import output

        with output() as console:
            tell(console)


def _silence(stream: TextIO) -> None:
    """What Python still holds for a dead stream must not fail once more when the process ends."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Lenient:
    """A stream that drops what cannot be written: a display must not end a run."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
