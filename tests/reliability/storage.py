"""Disks that are full or fail, and processes that may not open files: a clean stop, and nothing lost."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.struck import Seen, run, served, settle, summed
from tests.reliability.syscalls import has_strace
from tests.reliability.table import Line, not_run
from tests.runs import JobFolder, run_batchrun

ROWS = 60

MakeJob = Callable[[str, int], JobFolder]

FILES = (
    "checkpoint/journal-000001.log",
    "checkpoint/job.json.tmp",
    "checkpoint/lock",
    "log.jsonl",
    "checkpoint/index.tmp",
    "checkpoint/index.json.tmp",
    "run.json.tmp",
    "job.yaml.tmp",
    "checkpoint/sealed-000001.tmp",
    "checkpoint/admitted.json.tmp",
    "checkpoint/published.json.tmp",
    "generations/000001/part-00000.tmp",
)
"""What a first submit creates, by the name under which it is opened."""

JOURNAL = (FILES[0],)


@dataclass(frozen=True, slots=True)
class Injected:
    """Errors that strace puts in place of system calls: on these files, or all, from the n-th call on."""

    name: str
    calls: str
    error: str
    files: tuple[str, ...] = ()
    lasting: bool = False
    step: int = 1
    """Calls between two points."""
    each: bool = False
    """Each file is a point of its own, at its first call."""

    def commands(self, job: JobFolder, point: int) -> list[str]:
        """The command of a submit that this befalls at one of the points, from 0."""
        files = [self.files[point % len(self.files)]] if self.each else self.files
        when = 1 if self.each else 1 + point * self.step
        paths = [word for name in files for word in ("-P", str(job.run / name))]
        inject = f"inject={self.calls}:error={self.error}:when={when}{'+' if self.lasting else ''}"
        strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", *paths, "-e", inject]
        return [*strace, "-e", f"trace={self.calls}", *job.command("--drain", "5")]


_RENAMES = "rename,renameat,renameat2"

FAULTS = (
    Injected("disk full for one write of the journal", "write", "ENOSPC", JOURNAL, step=19),
    Injected(
        "disk full for good, at a write of the journal", "write", "ENOSPC", JOURNAL, lasting=True, step=19
    ),
    Injected("quota used up for one write of the journal", "write", "EDQUOT", JOURNAL, step=19),
    Injected("EIO at a write of the journal", "write", "EIO", JOURNAL, step=19),
    Injected("EIO at an fsync", "fsync,fdatasync", "EIO"),
    Injected("EIO at every fsync from one on", "fsync,fdatasync", "EIO", lasting=True),
    Injected("EIO at a rename", _RENAMES, "EIO"),
    Injected("disk full when a file is created", "openat", "ENOSPC", FILES, each=True),
    Injected("EIO when a file is created", "openat", "EIO", FILES, each=True),
    Injected("read-only disk when a file is opened", "openat", "EROFS", FILES, lasting=True, each=True),
    Injected("no open files when a file is opened", "openat", "EMFILE", FILES, each=True),
)


def injected(make: MakeJob, fault: Injected, point: int) -> Seen:
    """One submit with errors put in place of its system calls, and the one after it."""
    job = make(f"i{FAULTS.index(fault)}-{point}", ROWS)
    return _settled(job, run(fault.commands(job, point)), f"{fault.name}, point {point}", codes=(0, 3))


def _settled(job: JobFolder, seen: Seen, case: str, codes: tuple[int, ...]) -> Seen:
    seen.case = case
    if seen.exit_code == 3 and not ("submit again" in seen.text or "--resume" in seen.text):
        seen.wrong.append("does not say what to do")
    settle(job, ROWS, seen)
    return seen.judge(codes)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A memory filesystem of that size. Raises CalledProcessError where none can be mounted."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def too_small(make: MakeJob, size: str) -> Seen:
    """A submit on a disk that is too small from the beginning; then on a larger one."""
    job = make(f"small-{size}", ROWS)
    with small_disk(job.folder / "runs", size) as disk:
        seen = run(job.command())
        if job.calls():
            seen.wrong.append("calls were sent")
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        return _settled(job, seen, f"a disk of {size}", codes=(3,))


def filled(make: MakeJob, left: int, after: float) -> Seen:
    """Another program fills the disk while the run goes, and leaves so many bytes."""
    job = make(f"filled-{left}-{after}", ROWS * 10)
    with small_disk(job.folder / "runs", "100m") as disk:

        def fill(process: subprocess.Popen[str]) -> None:
            _wait_for_calls(job, process, after)
            _fill(disk, left)

        seen = run(job.command("--drain", "5"), beside=fill)
        (disk / "filler").unlink()
        seen.case = f"{left:,} bytes left after {after:.0%}"
        settle(job, ROWS * 10, seen)
        return seen.judge((3,))


def _wait_for_calls(job: JobFolder, process: subprocess.Popen[str], share: float) -> None:
    while process.poll() is None and len(job.calls()) < ROWS * 10 * share:
        time.sleep(0.01)


def _fill(disk: Path, left: int) -> None:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:  # what the run takes meanwhile is not there to be taken
            file.write(bytes(65_536))
    os.truncate(filler, max(0, filler.stat().st_size - left))


def few_files(make: MakeJob, limit: int) -> Seen:
    """A process that may open few files; more calls are wanted at once than fit."""
    job = make(f"files-{limit}", ROWS)
    endpoints = {"local": {**_endpoint(job), "limits": {"concurrency": 200}}}
    job.edit(endpoints=endpoints)
    seen = run(["prlimit", f"--nofile={limit}:{limit}", *job.command("--drain", "5")])
    failed = job.run_json().get("failed") if (job.run / "run.json").exists() else 0
    if failed:
        seen.wrong.append(f"{failed} rows failed")
    return _settled(job, seen, f"{limit} open files", codes=(0, 3))


def _endpoint(job: JobFolder) -> dict[str, object]:
    import json

    document = json.loads(job.job.read_text(encoding="utf-8"))
    endpoint: dict[str, object] = document["endpoints"]["local"]
    return endpoint


def short_files(make: MakeJob, limit: int) -> Seen:
    """A limit on the size of each file: the last write before it is a short one."""
    job = make(f"size-{limit}", ROWS)
    no_bytecode = ["env", "PYTHONDONTWRITEBYTECODE=1"]  # it would be cut short, and break what comes after
    seen = run([*no_bytecode, "prlimit", f"--fsize={limit}:{limit}", *job.command("--drain", "5")])
    return _settled(job, seen, f"files of {limit} bytes at most", codes=(0, 3))


def read_only(make: MakeJob, done: int) -> Seen:
    """A disk that has become read-only between two submits."""
    job = make(f"read-only-{done}", ROWS)
    with small_disk(job.folder / "runs", "100m") as disk:
        if done:
            run_batchrun("submit", str(job.job), "--limit", str(done))
        before = len(job.calls())
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        seen = run(job.command())
        if len(job.calls()) > before:
            seen.wrong.append("calls were sent")
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        return _settled(job, seen, f"read-only after {done} rows", codes=(3,))


OUTPUTS = ("{} >&-", "{} 2>&-", "{} >&- 2>&-", "{} >/dev/full", "{} 2>/dev/full", "{} >/dev/full 2>&1")
PIPES = ("{} 2>&1 | head -c 1", "{} | true", "{} 2>&1 >/dev/null | true")


def unheard(make: MakeJob, shell: str, *, json: bool) -> Seen:
    """Nobody can read what a submit says: it does its work all the same.

    Its exit code tells of the rows, or, where a program is to read a file that stays empty, of that.
    """
    kind = (*OUTPUTS, *PIPES).index(shell)
    job = make(f"unheard-{kind}-{json:d}", ROWS)
    words = subprocess.list2cmdline(job.command(*(["--json"] if json else [])))
    script = shell.format(words) + ("; exit ${PIPESTATUS[0]}" if shell in PIPES else "")
    seen = run(["bash", "-c", script])
    if not (job.run / "results").exists():
        seen.wrong.append("no results")
    seen.case = shell.format("submit" + " --json" * json)
    settle(job, ROWS, seen)
    return seen.judge((3,) if json and " >/dev/full" in shell else (0,))


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """Storage faults at ten points of a run each; at two in short."""
    points = range(10) if full else (1, 7)
    with served(folder) as make:
        if has_strace():
            for fault in FAULTS:
                seen = [injected(make, fault, point) for point in points]
                yield summed(fault.name, f"{len(seen)} points", seen)
        else:
            yield not_run("errors of system calls", "strace is missing")
        if _can_mount(folder):
            yield from _on_disks(make, full)
        else:
            yield not_run("small and read-only disks", "nothing can be mounted")
        yield from _limited(make, full)


def _can_mount(folder: Path) -> bool:
    try:
        with small_disk(folder / "mounted", "64k"):
            return True
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False


def _on_disks(make: MakeJob, full: bool) -> Iterator[Line]:
    sizes = ("64k", "128k", "256k", "512k", "1m", "2m", "4m", "8m", "16m", "32m") if full else ("64k", "2m")
    seen = [too_small(make, size) for size in sizes]
    yield summed("a disk that is too small", f"{len(seen)} sizes", seen)
    left = (0, 4096, 65_536, 1_000_000, 2_000_000)
    moments = [(bytes_left, after) for after in (0.1, 0.5) for bytes_left in left] if full else [(0, 0.3)]
    seen = [filled(make, bytes_left, after) for bytes_left, after in moments]
    yield summed("a disk that another program fills", f"{len(seen)} moments", seen)
    counts = range(0, 50, 5) if full else (0, 20)
    seen = [read_only(make, done) for done in counts]
    yield summed("a disk that has become read-only", f"{len(seen)} moments", seen)


def _limited(make: MakeJob, full: bool) -> Iterator[Line]:
    limits = (32, 40, 48, 56, 64, 72, 80, 96, 128, 192) if full else (48, 96)
    seen = [few_files(make, limit) for limit in limits]
    yield summed("few open files", f"{len(seen)} limits", seen)
    sizes = (0, 1_000, 3_000, 5_000, 8_000, 12_345, 20_000, 30_000, 40_000, 60_000) if full else (5_000,)
    seen = [short_files(make, size) for size in sizes]
    yield summed("files that may not grow", f"{len(seen)} sizes", seen)
    shells = [(shell, json) for shell in (*OUTPUTS, *PIPES) for json in ((False, True) if full else (False,))]
    seen = [unheard(make, shell, json=json) for shell, json in shells]
    yield summed("nobody reads what it says", f"{len(seen)} ways", seen)
