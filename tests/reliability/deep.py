"""Kill a run, then its resume, then the resume of that, and so on: five deep, each at a random point.

Points are drawn by place: the start, the journal, the sealing, the publication, the end, or `gc`. A life is
killed on a syscall there that strace counts to. Each life asks for some rows only, so that there is something
to publish at the end of every one.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability import life, traced
from tests.reliability.audit import Auditor, Books, run_here
from tests.reliability.held import Reader
from tests.reliability.kills import conversation
from tests.reliability.ledger import LedgerTail
from tests.reliability.points import restore
from tests.reliability.table import Line, not_run
from tests.runs import JobFolder, simulated

ROWS = 90
PLACES = 4
ASKS = 2
"""Calls of each row: a kill leaves rows that have one of their answers."""

DEPTH = 5
LIMIT = (4, 14)
"""Rows that a life asks for, at least and at most."""

NUMBERS = range(1, 40)

SMALL = ("write", "fsync", "openat", "rename", "unlink")


@dataclass(frozen=True, slots=True)
class Place:
    """Files of a run folder, and the syscalls on them at which a life may end."""

    name: str
    files: tuple[str, ...]
    most: int
    """The highest count that is drawn for one syscall."""
    syscalls: tuple[str, ...] = SMALL

    def paths(self, run: Path) -> list[str]:
        """The files of this place, for every number that a file may have."""
        return [str(run / file.format(n)) for file in self.files for n in (NUMBERS if "{" in file else [0])]


def _replaced(*names: str) -> tuple[str, ...]:
    return tuple(name + suffix for name in names for suffix in ("", ".tmp"))


START = Place(
    "start",
    (
        *_replaced("checkpoint/job.json", "checkpoint/index.json", "checkpoint/types.arrow", "job.yaml"),
        *("checkpoint/index.tmp", "checkpoint/index.parquet", "checkpoint/lock", "log.jsonl"),
    ),
    3,
)
ASKING = Place(
    "asking", ("checkpoint/journal-{:06d}.log",), 30, ("write", "write", "write", "fsync", "openat")
)
SEALING = Place("sealing", ("checkpoint/sealed-{:06d}.tmp", "checkpoint/journal-{:06d}.log"), 3, SMALL[1:])
UNFINISHED = Place("sealing", ("checkpoint/sealed-{:06d}.tmp",), 600, ("write",))
PUBLICATION = Place(
    "publication",
    (
        *("generations", "generations/{:06d}", "generations/{:06d}/part-00000.tmp", "results", "results.tmp"),
        *("generations/{:06d}/part-00000.parquet", *_replaced("checkpoint/published.json")),
    ),
    3,
    ("mkdir", "openat", "fsync", "rename", "symlink", "unlink", "unlinkat", "rmdir"),
)
PARTS = Place("publication", ("generations/{:06d}/part-00000.tmp",), 600, ("write",))
END = Place(
    "the end", _replaced("run.json", "checkpoint/admitted.json"), 2, ("openat", "write", "fsync", "rename")
)
COLLECTING = Place(
    "gc",
    (
        *("checkpoint", "checkpoint/sealed-{:06d}.tmp", "checkpoint/sealed-{:06d}.parquet"),
        *("checkpoint/journal-{:06d}.log", *_replaced("checkpoint/spent.json", "checkpoint/admitted.json")),
        "checkpoint/published.json",
    ),
    6,
)

IN_A_SUBMIT = (START, ASKING, ASKING, ASKING, SEALING, UNFINISHED, PUBLICATION, PUBLICATION, PARTS, END)
"""Places, as often as they are drawn."""


@dataclass(slots=True)
class Chains:
    """What a number of chains came to."""

    chains: int = 0
    places: Counter[str] = field(default_factory=Counter)
    """Kills by the place where they were meant to fall."""
    spared: int = 0
    """Lives that came to their end because the point they should die at did not come."""
    books: Books = field(default_factory=Books)


def kill_deep(job: JobFolder, seed: int, tail: LedgerTail, seen: Chains, *, depth: int = DEPTH) -> None:
    """One chain of `depth` kills from a folder that is not there yet to a finished run; add to `seen`."""
    rng = random.Random(seed)
    restore(job.folder / "nothing", job.run)
    first = 0
    job.edit(input=_from(first))
    tail.calls()
    auditor, kills = Auditor(job, Reader(), seen.books), 0
    while kills < depth:
        collects = kills > 0 and rng.random() < 0.15
        if collects:
            first += 2
            job.edit(input=_from(first))
        place = COLLECTING if collects else rng.choice(IN_A_SUBMIT)
        if _life(job, place, rng):
            auditor.killed()
            seen.places[place.name] += 1
            kills += 1
        else:
            auditor.look()
            seen.spared += 1
    auditor.ended(job.submit_here().exit_code)
    if first:  # the journal keeps calls under way of rows that are gone, until `gc` that nobody kills
        run_here("gc", str(job.job), "--yes")
        auditor.ended(job.submit_here().exit_code)
    auditor.finished(tail.calls(), range(first, ROWS), asks=ASKS)
    seen.chains += 1


def _from(first: int) -> dict[str, str]:
    """The input without the rows before `first`: what is answered of them is garbage."""
    return {"path": "rows.jsonl", "id": "id", "where": f"n >= {first}"}


def _life(job: JobFolder, place: Place, rng: random.Random) -> bool:
    """One life, killed at a place; False where it came to its end before."""
    if place is COLLECTING:
        words = [sys.executable, "-m", "batchrun", "gc", str(job.job), "--yes"]
    else:
        words = life.command(job, limit=rng.randint(*LIMIT), seal_rows=4)
    syscall, when = rng.choice(place.syscalls), rng.randint(1, place.most)
    return traced.strike(words, place.paths(job.run), syscall, when, job.folder / "trace")


def chains(folder: Path, number: int, *, depth: int = DEPTH, seed: int = 0) -> Chains:
    """So many chains, one after the other in one folder."""
    seen = Chains()
    folder.mkdir(parents=True, exist_ok=True)
    latency = {"latency": {"kind": "uniform", "low": 0.005, "high": 0.03}}
    limits = {"local": {"limits": {"concurrency": PLACES}}}
    with simulated(folder, rows=ROWS, config=latency, endpoints=limits, prompt=conversation(ASKS)) as job:
        tail = LedgerTail(job.ledger)
        for number_of_chain in range(number):
            kill_deep(job, seed + number_of_chain, tail, seen, depth=depth)
    return seen


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """SIGKILL five deep: resumes of resumes, publications, `gc`."""
    test = f"kill -9 {DEPTH} deep"
    if not traced.is_there():
        yield not_run(test, "strace is missing")
        return
    seen = chains(folder, 200 if full else 2)
    books = seen.books
    where = ", ".join(f"{place} {kills}" for place, kills in seen.places.most_common())
    yield Line(
        test,
        f"{seen.chains} chains, {books.kills:,} kills",
        held=books.held(PLACES),
        lost=books.lost,
        duplicated=books.duplicated,
        repaid=books.repaid,
        crashed=books.crashed,
        note=f"kills by place: {where}; {seen.spared} lives came through; {books.sentence()}",
    )
