"""Signals at any moment, two submits at once, a run folder that goes away: a clean end, nothing lost."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.storage import ROWS, MakeJob
from tests.reliability.struck import Seen, run, served, settle, summed
from tests.reliability.table import Line
from tests.runs import JobFolder, run_batchrun

DRAIN = 2.0
"""Seconds that calls under way are given."""

LATENCY = 0.05

SPAN = 3.0
"""Seconds within which a run of ROWS rows is struck: it starts, asks and publishes in that time."""

STARTED = 0.15
"""Seconds until the interpreter has begun with the program, on a machine that is not busy."""

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}


@dataclass(frozen=True, slots=True)
class Blow:
    """Signals to send: each after so many seconds."""

    number: signal.Signals
    after: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.number.name} after " + " and ".join(f"{moment:.2f} s" for moment in self.after)


def struck_by(make: MakeJob, name: str, blow: Blow) -> Seen:
    """A submit that is told to stop, once or twice, and the one after it."""
    job = make(name, ROWS)
    told: list[float] = []

    def strike(process: subprocess.Popen[str]) -> None:
        began = time.monotonic()
        for moment in blow.after:
            time.sleep(max(0.0, began + moment - time.monotonic()))
            if process.poll() is None:
                process.send_signal(blow.number)
                told.append(time.monotonic())

    seen = run(job.command("--drain", f"{DRAIN:g}"), beside=strike)
    ended = time.monotonic()
    seen.case = str(blow)
    if told and ended - told[-1] > (DRAIN + 3 if len(told) == 1 else 3):
        seen.wrong.append(f"ended {ended - told[-1]:.1f} s after the last signal")
    codes = [0, CODES[blow.number]]
    if not job.run.exists() and seen.exit_code == -blow.number:
        codes.append(-blow.number)  # Python was still starting
        seen.text = ""
    settle(job, ROWS, seen)
    return seen.judge(codes)


def blows(count: int, seed: int) -> Iterator[Blow]:
    """Signals at random moments of a run, once and twice in turn."""
    rng = random.Random(seed)
    numbers = tuple(CODES)
    for at in range(count):
        first = rng.uniform(STARTED, SPAN)
        second = (first + rng.uniform(0.05, 0.6),) if at // len(numbers) % 2 else ()
        yield Blow(numbers[at % len(numbers)], (first, *second))


def stopped(make: MakeJob, name: str, seconds: float, after: float) -> Seen:
    """Stopped as by Ctrl-Z, and continued so many seconds later: it goes on, and no call counts as timed out.

    By SIGSTOP: without a terminal the kernel discards SIGTSTP, whose default does the same.
    """
    job = make(name, ROWS * 5)

    def pause(process: subprocess.Popen[str]) -> None:
        time.sleep(after)
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    seen = run(job.command(), beside=pause)
    seen.case = f"stopped for {seconds:g} s after {after:.2f} s"
    settle(job, ROWS * 5, seen)
    return seen.judge((0,))


def quit_at(make: MakeJob, name: str, after: float) -> Seen:
    """SIGQUIT ends a process at once, as SIGKILL does."""
    job = make(name, ROWS)

    def strike(process: subprocess.Popen[str]) -> None:
        time.sleep(after)
        process.send_signal(signal.SIGQUIT)

    seen = run(job.command(), beside=strike)
    seen.case = f"SIGQUIT after {after:.2f} s"
    settle(job, ROWS, seen)
    return seen.judge((0, -signal.SIGQUIT))


def two(make: MakeJob, name: str, offset: float, *, fresh: bool) -> Seen:
    """Two submits, the second so many seconds later: one works, the other ends with 5 and says why."""
    job = make(name, ROWS)
    if not fresh:
        run_batchrun("submit", str(job.job), "--limit", "10")
    commands = [job.command(), job.command()]
    first = subprocess.Popen(commands[0], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(offset)
    seen = run(commands[1])
    _, said = first.communicate(timeout=60)
    codes = (first.returncode, seen.exit_code)
    seen.case, seen.text = f"second {offset:.2f} s later", seen.text + said
    if codes not in ((0, 5), (5, 0), (0, 0)):  # both work where one came when the other had ended
        seen.wrong.append(f"exit codes {codes}")
    if 5 in codes and "(process " not in seen.text:
        seen.wrong.append("does not say who holds the folder")
    if seen.exit_code == 5 and seen.seconds > 5:
        seen.wrong.append(f"was refused after {seen.seconds:.1f} s only")
    settle(job, ROWS, seen)
    return seen.judge((0, 5))


def among_readers(make: MakeJob, name: str, verbs: Sequence[tuple[str, ...]]) -> Seen:
    """A submit while other verbs look at the folder, or `gc` cleans it, again and again."""
    job = make(name, ROWS)
    run_batchrun("submit", str(job.job), "--limit", "20")
    codes: set[tuple[str, int]] = set()

    def look(process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            for verb, *options in verbs:
                told = run_batchrun(verb, str(job.job), *options)
                codes.add((verb, told.returncode))
                if "Traceback" in told.stderr:
                    seen_wrong.append(f"{verb}: {told.stderr[-200:]}")

    seen_wrong: list[str] = []
    seen = run(job.command(), beside=look)
    seen.case, seen.wrong = f"beside {', '.join(verb for verb, *_ in verbs)}", seen_wrong
    allowed = {("gc", 0), ("gc", 5), ("status", 0), ("show", 0)}
    if codes - allowed:
        seen.wrong.append(f"exit codes {sorted(codes - allowed)}")
    settle(job, ROWS, seen)
    return seen.judge((0, 5))


def gone(make: MakeJob, name: str, how: str, after: float) -> Seen:
    """The run folder is removed, moved or replaced while it runs: an error that says so, soon."""
    job = make(name, ROWS * 10)

    def remove(process: subprocess.Popen[str]) -> None:
        while process.poll() is None and len(job.calls()) < ROWS * 10 * after:
            time.sleep(0.01)
        if how == "removed":
            shutil.rmtree(job.run, ignore_errors=True)
            return
        job.run.rename(job.folder / "moved")
        if how == "replaced":
            (job.run / "checkpoint").mkdir(parents=True)

    seen = run(job.command("--drain", "3"), beside=remove)
    seen.case = f"{how} at {after:.0%}"
    if "removed, moved or replaced" not in seen.text:
        seen.wrong.append(f"does not say what happened: {seen.text[-200:]}")
    if how == "removed":
        return seen.judge((3,))  # what had been received is gone with the folder
    shutil.rmtree(job.run, ignore_errors=True)
    (job.folder / "moved").rename(job.run)
    settle(job, ROWS * 10, seen)
    return seen.judge((3,))


VERBS = (("status",), ("show", "--sample", "2"), ("gc", "--yes"))


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """A hundred signals and a hundred pairs in full, a few in short."""
    with served(folder, LATENCY) as make:
        seen = [struck_by(make, f"s{at}", blow) for at, blow in enumerate(blows(100 if full else 6, 4))]
        after = "grace and 3 s at most; a second signal ends it within 3 s"
        yield summed("INT, TERM and HUP, once and twice", f"{len(seen)} runs", seen, after)
        moments = [0.4 + 0.4 * at for at in range(6)] if full else [1.5]
        seen = [stopped(make, f"t{at}", 4.0, moment) for at, moment in enumerate(moments)]
        yield summed("STOP, and CONT 4 s later", f"{len(seen)} runs", seen)
        seen = [quit_at(make, f"q{at}", moment) for at, moment in enumerate(moments)]
        yield summed("QUIT", f"{len(seen)} runs", seen)
        yield summed("two submits at once", *_pairs(make, 100 if full else 4))
        yield summed("the lock of a killed submit", "1 run", [stale_lock(make("l", ROWS))])
        seen = [among_readers(make, f"v{at}", VERBS) for at in range(10 if full else 1)]
        yield summed("a submit beside gc, status and show", f"{len(seen)} runs", seen)
        ways = [(how, after) for how in ("removed", "moved", "replaced") for after in (0.1, 0.4, 0.7)]
        seen = [gone(make, f"g{at}", *way) for at, way in enumerate(ways[:: 1 if full else 4])]
        yield summed("a run folder that goes away", f"{len(seen)} runs", seen)


def _pairs(make: MakeJob, count: int) -> tuple[str, list[Seen]]:
    rng = random.Random(5)
    offsets = [rng.choice((0.0, rng.uniform(0, 0.1), rng.uniform(0, 2))) for _ in range(count)]
    seen = [two(make, f"p{at}", offset, fresh=at % 2 == 0) for at, offset in enumerate(offsets)]
    return f"{count} pairs", seen


def stale_lock(job: JobFolder) -> Seen:
    """A submit that was killed leaves its lock's file, with its number in it; the next one works."""
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (job.checkpoint / "journal-000001.log").exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    seen = run(job.command())
    seen.case = "after a kill"
    if (job.checkpoint / "lock").read_text().strip() == str(process.pid):
        seen.wrong.append("the killed one's number is still there")
    settle(job, ROWS, seen)
    return seen.judge((0,))
