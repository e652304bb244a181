"""Commands on a terminal of 80 columns."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from batchrun.cli import main

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(words: list[str], folder: Path, **env: str) -> tuple[int, str]:
    """Run a command on a terminal of 80 columns; exit code and everything it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", **env}
    environment.pop("NO_COLOR", None) if "NO_COLOR" not in env else None
    process = subprocess.Popen(
        [sys.executable, "-m", "batchrun", *words], stdout=theirs, stderr=theirs, cwd=folder, env=environment
    )
    os.close(theirs)
    written = bytearray()
    read_all(ours, written)
    os.close(ours)
    return process.wait(timeout=20), written.decode()


def here_on_a_terminal(words: Sequence[str | Path], folder: Path, **env: str) -> tuple[int, str]:
    """The same within this process, which is quicker; what rich draws there is 80 columns wide."""
    ours, theirs = pty.openpty()
    written = bytearray()
    reader = threading.Thread(target=read_all, args=(ours, written))
    reader.start()
    with (
        pytest.MonkeyPatch.context() as patch,
        os.fdopen(theirs, "w", encoding="utf-8") as stream,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("COLUMNS", "80")
        patch.delenv("NO_COLOR", raising=False)
        for name, value in env.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
    reader.join()
    os.close(ours)
    code = end.value.code
    assert isinstance(code, int)
    return code, written.decode()


def read_all(fd: int, written: bytearray) -> None:
    """Read what is written on the other side until it is closed."""
    with contextlib.suppress(OSError):  # the other side is closed
        while data := os.read(fd, 65536):
            written += data


def lines_seen(written: str) -> list[str]:
    """What stands on the screen, without the sequences that style it."""
    return _ESCAPE.sub("", written).replace("\r", "\n").splitlines()
