"""A disk that fails at a sync of the checkpoint's folder while conversations go on and files are closed.

The moment between two journal files is the one at which only one of them holds what was received.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.reliability import life
from tests.reliability.held import ask_of
from tests.reliability.kills import conversation
from tests.reliability.table import Line, not_run
from tests.reliability.traced import is_there
from tests.runs import simulated

ROWS, ASKS = 40, 3
_SEAL_ROWS = 5
_LATENCY = {"kind": "lognormal", "median": 0.1, "sigma": 0.8, "max": 1}


@dataclass(frozen=True, slots=True)
class Failed:
    """What a submit whose n-th sync of the folder failed came to, and the one after it."""

    codes: tuple[int, int]
    repaid: int
    """Answers that were received more than once."""
    lost: int
    """Asks without an answer at the end."""

    @property
    def crashed(self) -> bool:
        """0 where the run makes fewer syncs, or can do without one."""
        return self.codes[0] not in (0, 3) or self.codes[1] != 0

    @property
    def held(self) -> bool:
        return not (self.crashed or self.repaid or self.lost)


def fail_at(folder: Path, sync: int) -> Failed:
    """EIO at one fsync of the checkpoint's folder, counted from 1."""
    limits = {"local": {"limits": {"concurrency": 8}}}
    with simulated(
        folder, rows=ROWS, config={"latency": _LATENCY}, prompt=conversation(ASKS), endpoints=limits
    ) as job:
        command = life.command(job, seal_rows=_SEAL_ROWS)
        struck = [
            *("strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-P", str(job.checkpoint)),
            *("-e", "trace=fsync", "-e", f"inject=fsync:error=EIO:when={sync}"),
        ]
        codes = (_code([*struck, *command]), _code(command))
        answered = Counter(
            ask_of(call.prompt) for call in job.calls() if call.answer and call.answer.status == 200
        )
    repaid = sum(count > 1 for count in answered.values())
    return Failed(codes, repaid, ROWS * ASKS - len(answered))


def _code(command: list[str]) -> int:
    ended = subprocess.run(command, cwd=life.ROOT, capture_output=True, check=False, timeout=120)
    return ended.returncode


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """Every sync of the folder in full, a few of them else."""
    if not is_there():
        yield not_run("a sync that fails between two journal files", "strace is missing")
        return
    seen = []
    for sync in range(1, 20) if full else (8, 11):
        place = folder / f"{sync:02d}"
        place.mkdir()
        seen.append(fail_at(place, sync))
    yield Line(
        "a sync that fails between two journal files",
        f"{len(seen)} syncs, {ROWS} x {ASKS} asks each",
        held=all(one.held for one in seen),
        lost=sum(one.lost for one in seen),
        repaid=sum(one.repaid for one in seen),
        crashed=sum(one.crashed for one in seen),
        note=f"{sum(one.codes[0] == 3 for one in seen)} ended the run",
    )
