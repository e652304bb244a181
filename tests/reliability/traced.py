"""Syscalls on the files of a run folder, recorded by strace, and SIGKILL at a chosen one of them.

A process that is killed on entering a syscall never makes it: the folder is as the syscall before it left
it. Kills before every recorded point therefore leave every state of the folder that there was.

strace counts `when=k` in each thread by itself, while the journal's fsyncs may come from several. So the
point at which a process died is told from its own trace, by the file, the syscall, and how many of these
there were in all threads; whoever wants a certain one tries until it was hit.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from tests.reliability.life import ROOT

CHANGING = (
    *("write", "pwrite64", "writev", "pwritev", "fsync", "fdatasync", "openat", "open", "creat"),
    *("ftruncate", "truncate", "fallocate", "rename", "renameat", "renameat2", "link", "linkat"),
    *("symlink", "symlinkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod"),
    "fchmodat",
)
"""Syscalls that change files, or make changes durable."""

_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_PATHS = re.compile(r'<(/[^>]*)>|"(/[^"]*)"')


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """The `nth` time (from 1) that a run makes this syscall on this file, in all its threads."""

    path: str
    syscall: str
    nth: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """A point, and which time it was in its own thread: what strace counts."""

    point: Point
    in_thread: int
    bytes: int = 0
    """Written, by a write."""


def is_there() -> bool:
    """Whether strace is installed."""
    return shutil.which("strace") is not None


def record(words: Sequence[str], run: Path, trace: Path) -> list[Recorded]:
    """Run a command to its end; the points at which it changed files of the run folder, in order."""
    done = _strace(words, trace, ["--seccomp-bpf", f"--trace={','.join(CHANGING)}"])
    assert done.returncode == 0, done.stderr
    return [found for found, line in _points(trace, run) if "openat(" not in line or "O_CREAT" in line]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A file (`.tmp`) until it got its name: its writes but the first and the last, where each began.

    A kill between them leaves the file shorter, and nothing else: nobody reads it before it has its name.
    """

    end: Recorded
    """The rename."""
    inner: tuple[Point, ...]
    starts: tuple[int, ...]
    """In bytes."""


def unfinished(recorded: Sequence[Recorded]) -> list[Unfinished]:
    """Files of more than three writes. One name may stand for several, one after the other."""
    found: list[Unfinished] = []
    writes: dict[str, list[Recorded]] = {}
    for one in recorded:
        path = one.point.path
        if one.point.syscall == "write" and path.endswith(".tmp"):
            writes.setdefault(path, []).append(one)
        elif one.point.syscall == "rename" and len(own := writes.pop(path, [])) > 3:
            ends = list(accumulate(write.bytes for write in own))
            found.append(Unfinished(one, tuple(write.point for write in own[1:-1]), tuple(ends[:-2])))
    return found


def strike(words: Sequence[str], paths: Sequence[str], syscall: str, when: int, trace: Path) -> bool:
    """Run a command, killed on the `when`th such syscall on these paths; whether it came so far."""
    chosen = [f"--trace-path={path}" for path in paths]
    injected = [f"--trace={syscall}", f"--inject={syscall}:signal=SIGKILL:when={when}"]
    done = _strace(words, trace, [*chosen, *injected])
    killed = done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert killed or done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2_000:]}"
    return killed


def struck(run: Path, trace: Path) -> Point:
    """Where the process of a `strike` died."""
    *_, (last, _line) = _points(trace, run)
    return last.point


def _strace(words: Sequence[str], trace: Path, options: list[str]) -> subprocess.CompletedProcess[str]:
    strace = ["strace", "-f", "-y", "--string-limit=0", f"--output={trace}"]
    return subprocess.run(
        [*strace, *options, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def _points(trace: Path, run: Path) -> Iterator[tuple[Recorded, str]]:
    """The syscalls of a trace on files of the run folder, each with its line."""
    in_all, in_thread = Counter[tuple[str, str]](), Counter[tuple[str, str, str]]()
    with trace.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            found = _LINE.match(line)
            path = _own_path(found[3], run) if found else None
            if not found or path is None or found[2] not in CHANGING:
                continue
            thread, syscall = found[1], found[2]
            in_all[syscall, path] += 1
            in_thread[thread, syscall, path] += 1
            point, nth = Point(path, syscall, in_all[syscall, path]), in_thread[thread, syscall, path]
            yield Recorded(point, nth, _result(line)), line


def _result(line: str) -> int:
    said = line.rpartition(" = ")[2].split(" ")[0].strip()
    return int(said) if said.isdecimal() else 0


def _own_path(arguments: str, run: Path) -> str | None:
    """The first file of the run folder that a syscall names."""
    for of_descriptor, given in _PATHS.findall(arguments):
        path: str = of_descriptor or given
        if path == str(run) or path.startswith(f"{run}/"):
            return path
    return None
