"""A job's life, recorded: every change that its commands make to the files below its folder.

When each answer was appended to the journal is told from the recorded bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from batchrun.outcome import Response
from batchrun.run_folder.journal.lines import DamagedRecordError, decode
from batchrun.run_folder.journal.records import Answered, Sent
from tests.reliability.disk import Disk
from tests.reliability.syscalls import Change, changes, traced
from tests.runs import JobFolder

STABLE = ["row_index", "row_id", "text", "n", "status", "completion", "usage", "request_hash"]
"""Columns that do not hang on when a row was asked, nor on the record of the call (`model`, `attempts`)."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the job's life, over these rows of the table."""

    rows: tuple[range, ...]
    words: tuple[str, ...] = ("submit",)
    """The verb and its options."""
    kill_after: int | None = None
    """Calls after which it is killed with SIGKILL."""

    @property
    def numbers(self) -> list[int]:
        """The rows' numbers, in the order of the table."""
        return [number for part in self.rows for number in part]


LIFE = (
    Step((range(120),), kill_after=70),
    Step((range(120),)),
    Step((range(180),)),
    Step((range(30), range(60, 200))),
    Step((range(30), range(60, 200)), ("gc", "--yes")),
    Step((range(30), range(60, 220))),
)
"""A kill, two more publications, rows that go and come, `gc` of what they leave, and another publication."""

SHORT_LIFE = (Step((range(60),), kill_after=50), Step((range(60),)))


@dataclass(frozen=True, slots=True)
class Recording:
    """A job's life: `disk` with all its changes; of each step, its end and what a finished run holds."""

    disk: Disk
    life: Sequence[Step]
    ends: list[float]
    wanted: list[pl.DataFrame]
    appended: dict[int, tuple[float, float]]
    """For each row's number: when its answer was first appended, and when the process ended that did it."""
    longest_sync: float

    def step_at(self, instant: int) -> int:
        """The step that an instant is in."""
        at = self.disk.changes[instant].start
        return next(number for number, end in enumerate(self.ends) if at <= end)

    def ages(self, instant: int) -> dict[int, float]:
        """For how many seconds each row's answer had stood in the journal while its run lived."""
        change = self.disk.changes[instant]
        now = change.end if change.kind == "sync" else change.start
        return {row: min(now, end) - at for row, (at, end) in self.appended.items() if at < now}


@dataclass(frozen=True, slots=True)
class Setting:
    """The job and the simulator that it asks."""

    job: JobFolder

    def lay_out(self, step: Step) -> None:
        """The prompt table of a step, with the same bytes and time of change each time."""
        lines = [
            json.dumps({"id": f"r{n:06d}", "text": f"row {n:06d}: please answer", "n": n}) + "\n"
            for n in step.numbers
        ]
        self.job.rows.write_text("".join(lines), encoding="utf-8")
        os.utime(self.job.rows, (1_700_000_000, 1_700_000_000 + len(lines)))

    def record(self, life: Sequence[Step], *, slow_sync: float) -> Recording:
        """Lead the job through its life."""
        found: list[Change] = []
        ends = []
        appended: dict[int, tuple[float, float]] = {}
        rows: dict[int, int] = {}
        for number, step in enumerate(life):
            self.lay_out(step)
            log = self.job.folder / f"strace-{number}.log"
            self._run(step, log, slow_sync)
            ends.append(time.time())
            new = changes(log, self.job.folder)
            found += new
            for row, at in _answers(new, step, rows):
                appended.setdefault(row, (at, new[-1].end))
        shutil.rmtree(self.job.run.parent)
        syncs = [c.end - c.start for c in found if c.kind == "sync" and c.path.name.startswith("journal-")]
        disk = Disk(self.job.folder, found)
        return Recording(disk, life, ends, self._undisturbed(life), appended, max(syncs))

    def _run(self, step: Step, log: Path, slow_sync: float) -> None:
        command = [sys.executable, "-m", "tests.reliability.small", *step.words, str(self.job.job)]
        before = self._calls()
        process = subprocess.Popen(
            traced(command, log, slow_sync=slow_sync),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if step.kill_after is not None:
            while self._calls() - before < step.kill_after and process.poll() is None:
                time.sleep(0.002)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(children[0]), 9)
        _, said = process.communicate(timeout=120)
        assert process.returncode == (0 if step.kill_after is None else -9), said.decode()

    def _calls(self) -> int:
        if not self.job.ledger.exists():
            return 0
        return self.job.ledger.read_bytes().count(b'"event":"call"')

    def _undisturbed(self, life: Sequence[Step]) -> list[pl.DataFrame]:
        """The results of each step's table, asked without any trouble."""
        found: list[pl.DataFrame] = []
        for number, step in enumerate(life):
            if number and step.numbers == life[number - 1].numbers:
                found.append(found[-1])
                continue
            self.lay_out(step)
            self.job.submit_here()
            found.append(self.results())
            shutil.rmtree(self.job.run.parent)
        return found

    def results(self) -> pl.DataFrame:
        """What the results hold, but for what hangs on the time."""
        return self.job.results().select(STABLE).sort("row_index")


def _answers(new: Sequence[Change], step: Step, rows: dict[int, int]) -> Iterator[tuple[int, float]]:
    """The rows whose answers were appended to a journal, with the time; `rows` are their numbers by key."""
    tasks: dict[int, int] = {}
    for change in new:
        if change.kind != "write" or not change.path.name.startswith("journal-"):
            continue
        for line in change.data.splitlines():
            with suppress(DamagedRecordError):
                match decode(line):
                    case Sent() as sent:
                        tasks[sent.task] = rows.setdefault(sent.key, step.numbers[sent.row])
                    case Answered(exchange=Response(status=200)) as answered:
                        yield tasks[answered.task], change.end
