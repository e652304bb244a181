"""A process from its start to its end, as seen from outside."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Took:
    """What a process took."""

    seconds: float
    """From before its start until after its end."""
    cpu: float
    """Seconds of processor time, user and system, with those of the children that it waited for."""
    code: int
    """Its exit code."""


def run(command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> Took:
    """Run `command` in the project's folder; what it writes goes to `log`."""
    with log.open("wb") as written:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[2],
            env={**os.environ, **(env or {})},
        )
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:  # an interruption, which ends what it interrupts
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    return Took(seconds, used.ru_utime + used.ru_stime, process.returncode)


def allow_open_files() -> None:
    """Let this process and its children open as many files as the system permits: a connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
