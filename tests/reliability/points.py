"""Kill a run at every syscall that changes a file of its folder, then resume it.

The points are those of a recorded trace; a point counts as hit when a process died there. Each is tried in a
copy of the folder as the recorded run found it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability import life, traced
from tests.reliability.audit import Auditor, Books
from tests.reliability.held import Reader
from tests.reliability.kills import conversation
from tests.reliability.ledger import LedgerTail
from tests.reliability.table import Line, not_run
from tests.reliability.traced import Point, Recorded
from tests.runs import JobFolder, simulated

ROWS = 40
PLACES = 2
REMOVED = 5
"""Answered rows that the input has no more when `gc` runs."""

TRIES = 40
"""How often a point is aimed at in vain before it counts as missed."""
SURE = 3
"""Lives that all come through where a write is to be the last: then it is one that only the recorded made."""


@dataclass(slots=True)
class Struck:
    """What came of one scenario."""

    recorded: int = 0
    """Points of the recorded run."""
    aimed: int = 0
    """Points that were to be hit."""
    cut: int = 0
    """States between two writes of an unfinished file, made by cutting what a kill after them left."""
    hit: set[Point] = field(default_factory=set)
    missed: list[Point] = field(default_factory=list)
    shadowed: int = 0
    """Missed fsyncs that strace cannot tell from an earlier one in another thread. An fsync changes nothing
    that a kill shows: the points around it leave the same folder."""
    unreached: set[Point] = field(default_factory=set)
    """Missed writes that no life but the recorded one came to: a journal's, whose number depends on how many
    records are ready at once."""
    books: Books = field(default_factory=Books)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is killed: a command in a folder that `prepare` made."""

    name: str
    verb: str
    asks: int
    """Calls of each row: with several, a kill leaves rows that have some of their answers."""

    def words(self, job: JobFolder) -> list[str]:
        """The command that is killed."""
        if self.verb == "gc":
            return [sys.executable, "-m", "batchrun", "gc", str(job.job), "--yes"]
        return life.command(job)

    def prepare(self, job: JobFolder) -> None:
        """Bring the run folder to where the command begins."""
        if self.verb != "first":
            begun(job)
        if self.verb == "gc":
            job.edit(input={"path": "rows.jsonl", "id": "id", "where": f"n >= {REMOVED}"})


def begun(job: JobFolder) -> None:
    """Two generations of results, some sealed parts, a journal that a kill left, half an answer in it."""
    for limit in (9, 10):
        done = subprocess.run(life.command(job, limit=limit, seal_rows=4), cwd=life.ROOT, check=False)
        assert done.returncode == 0
    paths = [str(job.checkpoint / f"journal-{number:06d}.log") for number in range(1, 20)]
    trace = job.folder / "begun.trace"
    assert traced.strike(life.command(job), paths, "write", 26, trace)
    while not _half_answered(job):
        assert traced.strike(life.command(job), paths, "write", 6, trace)


def _half_answered(job: JobFolder) -> bool:
    """Whether some row has its first answer and not its second."""
    answers = Reader().read(job.checkpoint).answers
    return any(step == 0 and (row, 1) not in answers for row, step in answers)


FIRST = Scenario("a first submit", "first", 1)
RESUMED = Scenario("a resume after a kill", "resumed", 2)
COLLECTED = Scenario("gc after a kill", "gc", 2)
SCENARIOS = (FIRST, RESUMED, COLLECTED)


@contextmanager
def prepared(folder: Path, scenario: Scenario) -> Iterator[tuple[JobFolder, Path]]:
    """A job with its simulator, and a copy of its run folder as the scenario begins."""
    folder.mkdir(parents=True, exist_ok=True)
    limits = {"local": {"limits": {"concurrency": PLACES}}}
    latency = {"latency": {"kind": "constant", "seconds": 0.01}}
    prompt = conversation(scenario.asks)
    with simulated(folder, rows=ROWS, config=latency, endpoints=limits, prompt=prompt) as job:
        scenario.prepare(job)
        template = folder / "template"
        if job.run.exists():
            shutil.copytree(job.run, template, symlinks=True)
        yield job, template


def strike_every(folder: Path, scenario: Scenario, *, every: int = 1, cut_every: int | None = 1) -> Struck:
    """Record the scenario's points and kill at every one, or at one in `every`; likewise for cuts."""
    seen = Struck()
    with prepared(folder, scenario) as (job, template):
        trace = folder / "trace"
        recorded = traced.record(scenario.words(job), job.run, trace)
        seen.recorded = len(recorded)
        files = traced.unfinished(recorded)
        inner = {point for file in files for point in file.inner}
        wanted = [one for one in recorded if one.point not in inner][::every]
        seen.aimed = len(wanted)
        trials = _Trials(job, template, scenario, seen.books)
        for aim in wanted:
            if aim.point not in seen.hit:
                seen.hit |= trials.hit(aim)
        for file in files if cut_every else ():
            seen.cut += trials.cut(file.end, file.starts[::cut_every])
        chosen = {aim.point for aim in wanted}
        behind = {
            one.point for one in wanted if one.point.syscall == "fsync" and one.in_thread < one.point.nth
        }
        seen.unreached = (chosen & trials.unreached) - seen.hit
        seen.missed = sorted(chosen - seen.hit - behind - seen.unreached)
        seen.shadowed = len((chosen & behind) - seen.hit)
        seen.hit &= chosen
    return seen


class _Trials:
    """Kills in fresh copies of the folder, each resumed to the end and settled."""

    def __init__(self, job: JobFolder, template: Path, scenario: Scenario, books: Books) -> None:
        self._job = job
        self._template = template
        self._scenario = scenario
        self._books = books
        self._reader = Reader()
        self._ledger = LedgerTail(job.ledger)
        self.unreached: set[Point] = set()

    def hit(self, aim: Recorded, *, resume: bool = True) -> set[Point]:
        """Kill until this point was hit, or TRIES were in vain; all that were hit. What it left is resumed,
        or left as it is."""
        found: set[Point] = set()
        whens = [aim.in_thread, *range(aim.point.nth, 0, -1)] * TRIES
        for when in [*[aim.in_thread] * SURE, *whens][:TRIES]:
            if struck := self._once(aim.point, when, resume=resume):
                found.add(struck)
            if aim.point in found:
                break
            if not found and when != aim.in_thread and aim.point.syscall == "write":
                self.unreached.add(aim.point)
                break
        return found

    def cut(self, end: Recorded, sizes: Sequence[int]) -> int:
        """Kill once at the end of an unfinished file, and go on from there with the file cut to each size."""
        if end.point not in self.hit(end, resume=False):
            return 0
        job, left = self._job, self._job.folder / "left"
        shutil.copytree(job.run, left, symlinks=True)
        for size in sizes:
            restore(left, job.run)
            os.truncate(end.point.path, size)
            auditor = Auditor(job, self._reader, self._books)
            auditor.look()
            self._ledger.calls()
            auditor.read()
            self._resume(auditor)
        shutil.rmtree(left)
        return len(sizes)

    def _resume(self, auditor: Auditor) -> None:
        summary = self._job.submit_here()
        auditor.ended(summary.exit_code)
        auditor.finished(self._ledger.calls(), range(ROWS - summary.rows, ROWS), asks=self._scenario.asks)

    def _once(self, point: Point, when: int, *, resume: bool) -> Point | None:
        """One life that is to end at a point; where it ended, or None when it came through."""
        job, trace = self._job, self._job.folder / "trace"
        restore(self._template, job.run)
        auditor = Auditor(job, self._reader, self._books)
        if job.checkpoint.exists():
            auditor.look()
        self._ledger.calls()
        killed = traced.strike(self._scenario.words(job), [point.path], point.syscall, when, trace)
        if killed:
            auditor.killed()
        if resume:
            self._resume(auditor)
        return traced.struck(job.run, trace) if killed else None


def restore(template: Path, run: Path) -> None:
    """Make the run folder what it was, with its times."""
    if run.exists():
        shutil.rmtree(run)
    if template.exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(template, run, symlinks=True)
    elif run.parent.exists():
        os.rmdir(run.parent)  # noqa: PTH106 - the first submit makes it, as it did when it was recorded


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """SIGKILL at every syscall of a run's own: of a first submit, of a resume, of gc."""
    if not traced.is_there():
        yield not_run("kill -9 at every syscall", "strace is missing")
        return
    for number, scenario in enumerate(SCENARIOS):
        cuts = 1 if full else 400 if scenario is RESUMED else None
        seen = strike_every(folder / str(number), scenario, every=1 if full else 30, cut_every=cuts)
        yield _line(scenario, seen)


def _line(scenario: Scenario, seen: Struck) -> Line:
    books = seen.books
    missed = "".join(f"; missed {point}" for point in seen.missed[:3])
    if seen.unreached:
        missed += f"; {len(seen.unreached)} writes of a journal that no other life made"
    if seen.shadowed:
        missed += f"; {seen.shadowed} fsyncs that strace cannot tell from one in another thread not hit"
    return Line(
        f"kill -9 at every syscall of {scenario.name}",
        f"{len(seen.hit):,} of {seen.aimed:,} points",
        held=books.held(PLACES) and not seen.missed,
        lost=books.lost,
        duplicated=books.duplicated,
        repaid=books.repaid,
        crashed=books.crashed,
        note=f"{seen.recorded:,} points recorded, {books.kills:,} kills; unfinished files "
        f"cut at {seen.cut:,} inner writes; {books.sentence()}{missed}",
    )
