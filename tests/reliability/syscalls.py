"""What commands do to the files below a folder, one change after another, as strace saw it.

strace(1): with `-y` a descriptor stands with its path, with `-xx` every byte of a string in hexadecimal.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_OPEN = "open,openat,creat"
_DATA = "write,pwrite64,writev,pwritev,pwritev2,truncate,ftruncate,fallocate,copy_file_range,sendfile"
_NAMES = (
    "mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,chmod,fchmod"
)
_SYNCS = "fsync,fdatasync,sync,syncfs,sync_file_range"
_LINE = re.compile(rb"(\d+) +(\d+\.\d+) (.*)")
_CALL = re.compile(rb"(\w+)\((.*)\) += (\d+).*<(\d+\.\d+)>$")
_UNFINISHED = b" <unfinished ...>"
_RESUMED = re.compile(rb"<\.\.\. \w+ resumed>")
_HEX = re.compile(rb"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Change:
    """One change below the folder, or one fsync, by absolute paths; times in seconds since the epoch.

    `kind` is open, write, truncate, grow, sync, mkdir, remove, rename, link or symlink. A change happened
    somewhere between `start` and `end`.
    """

    kind: str
    path: Path
    start: float
    end: float
    other: Path | None = None
    """Where a name comes from: of rename and link."""
    data: bytes = b""
    """What was written; of a symlink, its target."""
    offset: int | None = None
    """Where it was written, None for the end of the file; the length that a file was cut or grown to."""


def has_strace() -> bool:
    """Whether there is an strace here that may trace."""
    if shutil.which("strace") is None:
        return False
    return (
        subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode
        == 0
    )


def traced(command: Sequence[str], log: Path, *, slow_sync: float = 0.0) -> list[str]:
    """`command` under strace, which writes to `log`; each fsync takes `slow_sync` seconds longer."""
    slow = [f"--inject=fsync:delay_enter={round(slow_sync * 1e6)}"] if slow_sync else []
    what = f"--trace={_OPEN},{_DATA},{_NAMES},{_SYNCS}"
    how = ["-f", "--seccomp-bpf", "-y", "-xx", "-ttt", "-T", "-s", "100000000", "-o", str(log)]
    return ["strace", *how, what, *slow, *command]


def changes(log: Path, below: Path) -> list[Change]:
    """The changes below the folder `below`, in the order in which they ended.

    Raises ValueError for a call that changes a file in a way that this module does not know.
    """
    reader = _Reader(below)
    found = [change for call in _calls(log) if (change := reader.read(call)) is not None]
    return sorted(found, key=lambda change: change.end)


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    arguments: list[bytes]
    result: int
    opened: bytes
    """What stands behind the result."""
    start: float
    end: float


def _calls(log: Path) -> Iterator[_Call]:
    """The calls that went well, their two halves joined where another thread's stand between them."""
    begun: dict[bytes, tuple[float, bytes]] = {}
    with log.open("rb") as lines:
        for line in lines:
            match = _LINE.match(line.rstrip(b"\n"))
            if not match:
                continue
            thread, at, text = match[1], float(match[2]), match[3]
            if text.endswith(_UNFINISHED):
                begun[thread] = (at, text.removesuffix(_UNFINISHED))
                continue
            start = at
            if (resumed := _RESUMED.match(text)) and thread in begun:
                start, head = begun.pop(thread)
                text = head + text[resumed.end() :]
            if call := _CALL.match(text):
                tail = text[call.start(3) :]
                arguments = call[2].split(b", ")
                end = max(at, start + float(call[4]))
                yield _Call(call[1].decode(), arguments, int(call[3]), tail, start, end)


class _Reader:
    """Turns calls into changes; it knows where each open descriptor writes next."""

    def __init__(self, below: Path) -> None:
        self._below = below
        self._at: dict[int, int | None] = {}
        """By descriptor: where the next write goes, None for the end of the file."""

    def read(self, call: _Call) -> Change | None:
        """The change that a call makes below the folder, if it makes one."""
        kind, path, other = self._places(call)
        if path is None or not path.is_relative_to(self._below) or path.name.endswith(" (deleted)"):
            return None
        data, offset = b"", None
        if kind == "open":
            flags = call.arguments[-2 if b"O_CREAT" in call.arguments[-2] else -1]
            self._at[call.result] = None if b"O_APPEND" in flags else 0
            if b"O_CREAT" not in flags:
                return None
            offset = 0 if b"O_TRUNC" in flags else None
        elif kind == "write":
            data, offset = self._written(call)
        elif kind == "truncate":
            offset = int(call.arguments[1])
        elif kind == "grow":
            offset = int(call.arguments[2]) + int(call.arguments[3])
        elif kind == "symlink":
            data = _text(call.arguments[0])
        return Change(kind, path, call.start, call.end, other, data, offset)

    def _written(self, call: _Call) -> tuple[bytes, int | None]:
        data = _text(call.arguments[1])[: call.result]
        if call.name == "pwrite64":
            return data, int(call.arguments[3])
        number = int(call.arguments[0].partition(b"<")[0])
        at = self._at.get(number, 0)
        self._at[number] = None if at is None else at + len(data)
        return data, at

    def _places(self, call: _Call) -> tuple[str, Path | None, Path | None]:
        """What kind of change it is, and the paths that it names."""
        words = call.arguments
        match call.name:
            case "open" | "openat":
                return "open", _path(words, 0 if call.name == "open" else 1), None
            case "write" | "pwrite64":
                return "write", _of_descriptor(words[0]), None
            case "ftruncate":
                return "truncate", _of_descriptor(words[0]), None
            case "fallocate":
                return "grow", _of_descriptor(words[0]), None
            case "fsync" | "fdatasync":
                return "sync", _of_descriptor(words[0]), None
            case "mkdir" | "mkdirat":
                return "mkdir", _path(words, call.name == "mkdirat"), None
            case "unlink" | "rmdir" | "unlinkat":
                return "remove", _path(words, call.name == "unlinkat"), None
            case "rename" | "link":
                return call.name, _path(words, 1), _path(words, 0)
            case "symlink":
                return "symlink", _path(words, 1), None
            case "chmod" | "fchmod":
                return "mode", None, None
        if any(str(self._below).encode() in _text(word) for word in [*words, call.opened]):
            raise ValueError(f"{call.name} on files below {self._below} is not understood")
        return call.name, None, None


def _text(word: bytes) -> bytes:
    """The bytes of all that strace shows in hexadecimal."""
    return bytes.fromhex(b"".join(_HEX.findall(word)).decode())


def _of_descriptor(word: bytes) -> Path:
    return Path(os.fsdecode(_text(word)))


def _path(words: list[bytes], at: int) -> Path:
    """The path in word `at`, which may be relative to the folder in the word before it."""
    path = Path(os.fsdecode(_text(words[at])))
    is_relative = not path.is_absolute() and at > 0 and not words[at - 1].startswith(b'"')
    return _of_descriptor(words[at - 1]) / path if is_relative else path
