"""Commands on a terminal of 80 columns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

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
    written = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not data:
            break
        written += data
    os.close(ours)
    return process.wait(timeout=20), written.decode()


def lines_seen(written: str) -> list[str]:
    """What stands on the screen, without the sequences that style it."""
    return _ESCAPE.sub("", written).replace("\r", "\n").splitlines()
