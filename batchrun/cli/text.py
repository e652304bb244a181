"""What is written to a terminal: made safe, counted, spelled; and the one way to standard output."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import sys
import textwrap
from contextlib import suppress
from datetime import date, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click

from batchrun.errors import StorageError

_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_SHORT = 60
"""Characters of JSON that stay on one line."""


def clean(text: str) -> str:
    """Replace what a terminal would obey instead of showing it.

    C0 and C1 controls but tab and newline (ECMA-48), the marks that reverse text, and lone
    surrogates, which cannot be written at all.
    """
    return _UNSAFE.sub(_picture, text.replace("\r\n", "\n"))


def clean_line(text: str) -> str:
    """`clean` for what must stay on one line: a heading, a name, a label."""
    return clean(text).replace("\n", "\u240a").replace("\t", "\u2409")


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)  # the Control Pictures block
    return "\u2421" if code == 0x7F else f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def counted(number: int, noun: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """Seconds for people: `37 ms`, `0.52 s`, `12.3 s`, `4:05`, `1:02:03`."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return clock(seconds)


def clock(seconds: float) -> str:
    """Whole seconds as a clock has them: `0:07`, `4:05`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def spelled(value: Any) -> str:
    """A value of any column for people: text as it is, bytes by their number, the rest as `pretty` JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return _leaf(value) if isinstance(value, bytes | date | time | timedelta | Decimal) else pretty(value)


def pretty(value: Any) -> str:
    """JSON on one line where that is short, indented otherwise."""
    line = json.dumps(value, ensure_ascii=False, default=_leaf)
    if len(line) <= _SHORT:
        return line
    return json.dumps(value, ensure_ascii=False, default=_leaf, indent=2)


def _leaf(value: Any) -> str:
    """What JSON has no form for: columns hold bytes, times and decimals."""
    return f"[{counted(len(value), 'byte')}]" if isinstance(value, bytes) else str(value)


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


def write(text: str) -> None:
    """Write to standard output. Raises BrokenPipeError when whoever read it has enough, and StorageError."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        _silence(sys.stdout)
        raise
    except OSError as error:
        _silence(sys.stdout)
        raise StorageError(f"cannot write to standard output: {error.strerror}") from error


def write_json(document: Any) -> None:
    """Write one JSON value as one line."""
    from batchrun import codec

    try:
        line = codec.dumps(document)
    except TypeError:
        line = codec.dumps(_as_json(document))
    write(line.decode(errors="replace") + "\n")


def _as_json(value: Any) -> Any:
    """A value of any column as JSON has it: bytes as base64, decimals and durations as text."""
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    known = value is None or isinstance(value, str | int | float | date | time)  # datetime is a date
    return value if known else str(value)


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
