"""The file that `--env-file` names: KEY=VALUE lines, for keys that should not stand in a shell's history."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from batchrun.errors import UsageError

MAX_BYTES = 1_000_000
"""Far above what an environment can hold for a process."""

_LINES = "NAME=value lines, in UTF-8"

_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*")
_QUOTED = re.compile(r"""(?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)")\s*(?:#.*)?""")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def read_env_file(path: Path) -> dict[str, str]:
    """Read the variables of `path`; the later of two lines for one name holds.

    A line is `KEY=VALUE`, with or without `export` before it. 'Single quotes' are literal,
    "double quotes" know \\n, \\t, \\r, \\" and \\\\; without quotes ` #` begins a comment.
    Nothing is expanded. Raises UsageError, which never quotes a line: it may hold a key.
    """
    text = _read_private(path)
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, value = _variable(line, f"{path}:{number}")
            found[name] = value
    return found


def _read_private(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise UsageError(f"{path} can be read by other users", hint=f"run: chmod 600 {path}")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"--env-file {path}: {error.strerror}", hint="name a file that you may read"
        ) from error
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"--env-file {path}: larger than {MAX_BYTES:,} bytes, which no file of variables is",
            hint=f"name a file of {_LINES}",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # not chained: its object holds the file's bytes
        raise UsageError(f"--env-file {path}: not UTF-8 text", hint=f"name a file of {_LINES}") from None


def _variable(line: str, place: str) -> tuple[str, str]:
    match = _LINE.fullmatch(line)
    if match is None or "\0" in line:
        raise UsageError(f"{place}: not a KEY=VALUE line", hint="write NAME=value, one variable a line")
    return match["name"], _value(match["value"], place)


def _value(text: str, place: str) -> str:
    if not text.startswith(("'", '"')):
        return "" if text.startswith("#") else re.split(r"\s#", text, maxsplit=1)[0].rstrip()
    match = _QUOTED.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{place}: the quotes do not close at the end of the value",
            hint='close them there; inside "…" a quote is written \\"',
        )
    if match["single"] is not None:
        return match["single"]
    return _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), match["double"])
