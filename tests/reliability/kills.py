"""Kill a submit with SIGKILL at random times, resume it until it is done, and count what that cost.

The truth is the simulator's ledger, and the files of the checkpoint as each kill left them.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count, cycle
from pathlib import Path
from typing import Any

from tests.reliability import life
from tests.reliability.audit import Auditor, Books
from tests.reliability.held import Reader
from tests.reliability.table import Line
from tests.runs import JobFolder, simulated

LATENCY = {"latency": {"kind": "uniform", "low": 0.02, "high": 0.12}}

START_UP = 0.1
"""The share of kills at any time since a process began, most of them before its first call."""

ROWS_FAILED = 1
"""The exit code of a submit that leaves failed rows."""

LONGEST = 0.8
"""Seconds that the others live on, at most, once a call has been made."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A job that is killed."""

    name: str
    rows: int
    places: int
    seal_rows: int
    asks: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    sections: Mapping[str, Any] = field(default_factory=dict)
    submits: int = 1
    """As many as it takes undisturbed: all but the last leave failed rows."""


def conversation(asks: int) -> dict[str, Any]:
    """The prompt of rows that make so many calls each, one after the other."""
    turns = [{"content": f"{{{{ text }}}}, turn {turn}"} for turn in range(1, asks)]
    return {"messages": [{"role": "user", "content": "{{ text }}"}], **({"turns": turns} if turns else {})}


CONVERSATIONS = Kind(
    "conversations of three answers",
    200,
    4,
    25,
    asks=3,
    sections={"prompt": conversation(3)},
)

CARRIED_ON = Kind(
    "conversations that fail and go on",
    160,
    4,
    20,
    asks=3,
    config={
        "faults": [
            {"match": f"{digit}: please answer, turn", "first": 1, "status": 503} for digit in (2, 5, 8)
        ]
    },
    sections={
        "prompt": conversation(3),
        "retry": {"max_attempts": 1},
        "stop_when": {"failed": "100%", "after": 1_000},
    },
    submits=3,
)
"""Three rows in ten fail once for want of their second answer, and once for want of their third."""

FALLBACKS = Kind(
    "a tenth of the rows fall back",
    1_000,
    10,
    120,
    config={"faults": [{"match": "7: ", "model": "small", "status": 400, "code": "context_length_exceeded"}]},
    sections={"fallbacks": ["local/large"]},
)

LARGE = Kind("two results parts", 6_000, 32, 700)

KINDS = (CONVERSATIONS, CARRIED_ON, FALLBACKS, LARGE)

SHORT = {CONVERSATIONS: 60, CARRIED_ON: 60, FALLBACKS: 250}
"""Rows of the kinds that the short size has."""


@dataclass(slots=True)
class Tally:
    """What the kills of one or more jobs came to."""

    books: Books = field(default_factory=Books)
    jobs: int = 0
    rows: int = 0
    calls: int = 0
    between: int = 0
    """Kills between the first and the last call of their job, by the ledger."""
    asking: int = 0
    """Kills of a process that had made calls itself."""


def kill_and_resume(folder: Path, kind: Kind, *, kills: int, seed: int, tally: Tally) -> None:
    """Run one job to its end, killed up to `kills` times on the way; add to `tally`."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    sections = {"endpoints": {"local": {"limits": {"concurrency": kind.places}}}, **kind.sections}
    with simulated(folder, rows=kind.rows, config={**LATENCY, **kind.config}, **sections) as job:
        auditor = Auditor(job, Reader(), tally.books)
        words = life.command(job, seal_rows=kind.seal_rows)
        times: list[float] = []
        code = -signal.SIGKILL
        while len(times) < kills and (code == -signal.SIGKILL or (code == ROWS_FAILED and kind.submits > 1)):
            code, at = _life(job, words, rng, tally)
            if code == -signal.SIGKILL:
                auditor.killed()
                times.append(at)
        auditor.ended(_undisturbed(words, kind))
        calls = job.calls()
    auditor.finished(calls, range(kind.rows), asks=kind.asks)
    tally.between += sum(calls[0].at < at < calls[-1].at for at in times)
    tally.jobs += 1
    tally.rows += kind.rows
    tally.calls += len(calls)


def _life(job: JobFolder, words: list[str], rng: random.Random, tally: Tally) -> tuple[int, float]:
    """Let a process live for a random time; its exit code, and when it was killed, unless it ended before."""
    early = rng.random() < START_UP
    size = job.ledger.stat().st_size
    process = life.start(words)
    if early:
        time.sleep(rng.uniform(0, 1.0))
    else:
        while job.ledger.stat().st_size == size and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, LONGEST))
    at = time.time()
    process.send_signal(signal.SIGKILL)
    code = process.wait()
    tally.asking += code == -signal.SIGKILL and job.ledger.stat().st_size > size
    return code, at


def _undisturbed(words: list[str], kind: Kind) -> int:
    """Submit until no row is failed, or as often as that may take; the last exit code."""
    code = ROWS_FAILED
    for _submit in range(kind.submits):
        if code == ROWS_FAILED:
            code = subprocess.run(words, cwd=life.ROOT, capture_output=True, timeout=600).returncode
    return code


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """SIGKILL at random times in jobs of every kind."""
    wanted = 1_000 if full else 10
    kinds = KINDS if full else tuple(replace(kind, rows=rows) for kind, rows in SHORT.items())
    tallies = {kind: Tally() for kind in kinds}
    for seed, kind in zip(count(), cycle(list(tallies))):
        left = wanted - sum(tally.books.kills for tally in tallies.values())
        if not left:
            break
        most = left if full else wanted // len(kinds)
        kill_and_resume(folder / str(seed), kind, kills=min(left, most), seed=seed, tally=tallies[kind])
    for kind, tally in tallies.items():
        yield _line(kind, tally)


def _line(kind: Kind, tally: Tally) -> Line:
    books = tally.books
    share = tally.between / max(1, books.kills)
    return Line(
        f"kill -9 at random times: {kind.name}",
        f"{books.kills:,} kills, {tally.jobs} x {kind.rows:,} rows",
        held=books.held(kind.places) and share >= 0.8,
        lost=books.lost,
        duplicated=books.duplicated,
        repaid=books.repaid,
        crashed=books.crashed,
        note=f"{share:.0%} of the kills between the first and the last call of their job, {tally.asking} in "
        f"processes that had made calls; {tally.calls:,} calls; {books.sentence()}",
    )
