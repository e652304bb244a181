"""Cut the power at any instant of a job's life: what may be on the disk then must be readable, and go on.

Every change that the commands make is recorded with its bytes. From the record come states of the disk in
which everything stands that was synced, and any part of the rest. Each is put where the run folder was,
looked at, and submitted again. The truth is the simulator's ledger.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from batchrun.run_folder.journal.journal import COMMIT_INTERVAL
from batchrun.simulator import SimulatorConfig, read_ledger
from batchrun.simulator.config import UniformLatency
from tests.reliability.disk import EXTREMES, Chance, Choice, Disk
from tests.reliability.recording import LIFE, STABLE, Recording, Setting, Step
from tests.reliability.small import run_here
from tests.reliability.syscalls import has_strace
from tests.reliability.table import Line, not_run
from tests.runs import JobFolder, row_of
from tests.simulators import start_simulator

CONCURRENCY = 8


@dataclass(slots=True)
class Seen:
    """What became of the states."""

    states: int = 0
    changes: int = 0
    syncs: int = 0
    lost: int = 0
    """Rows missing in the results, or other there than without a power cut."""
    duplicated: int = 0
    repaid: int = 0
    """Calls for rows whose answers had been appended for longer than is promised."""
    crashed: int = 0
    oldest: float = 0.0
    """Age in seconds of the oldest answer that was lost and asked for again."""
    longest_sync: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether all that is promised was so."""
        return not (self.lost or self.duplicated or self.repaid or self.crashed)


@contextmanager
def _new_calls(ledger: Path) -> Iterator[list[int]]:
    """The rows that are asked for within the block, once it is over."""
    asked: list[int] = []
    before = ledger.stat().st_size
    yield asked
    tail = ledger.with_suffix(".tail")
    with ledger.open("rb") as file:
        file.seek(before)
        tail.write_bytes(b"".join(line for line in file if b'"event":"call"' in line))
    asked += [row_of(call.prompt) for call in read_ledger(tail)]


def instants(disk: Disk, number: int, seed: int) -> list[int]:
    """Instants to cut the power at.

    By thirds they are among the changes of names and the syncs, while a journal is written, and anywhere.
    """
    random = Random(seed)
    every = range(len(disk.changes))
    names = [n for n in every if disk.changes[n].kind != "write"]
    journal = [n for n in every if disk.changes[n].path.name.startswith("journal-")]
    drawn = [random.choice((names, journal, every)[nth % 3]) for nth in range(number)]
    return [min(n + random.randint(0, 1), every[-1]) for n in drawn]


def cut(setting: Setting, recording: Recording, instant: int, choice: Choice, seen: Seen) -> None:
    """Put one state of the disk in place, look at it, go on from it, and count what that cost."""
    job, step = setting.job, recording.step_at(instant)
    shutil.rmtree(job.run.parent, ignore_errors=True)
    recording.disk.write(instant, choice, job.folder)
    setting.lay_out(recording.life[step])
    place = f"instant {instant} ({recording.disk.changes[instant].kind}), step {step}, {choice}"
    limit = COMMIT_INTERVAL + recording.longest_sync
    ages = recording.ages(instant)
    promised = {row for row, age in ages.items() if age > limit}
    seen.states += 1
    for verb in ("status", "show"):
        code, said = run_here(verb, str(job.job))
        if code and (code != 2 or promised):  # 2: there is no run yet
            seen.crashed += 1
            seen.faults.append(f"{place}: {verb} ended with {code}: {said[-500:]}")
    with _new_calls(job.ledger) as asked:
        code, said = run_here("submit", str(job.job))
    if code:
        seen.crashed += 1
        seen.faults.append(f"{place}: submit ended with {code}: {said[-500:]}")
        return
    again = [row for row in asked if row in promised]
    seen.repaid += len(again)
    lost = [ages[row] for row in asked if row in ages]
    seen.oldest = max([seen.oldest, *lost])
    if again:
        seen.faults.append(f"{place}: asked again for {len(again)} rows, up to {max(lost):.3f} s old")
    results, wanted = setting.results(), recording.wanted[step]
    seen.duplicated += len(results) - results["row_index"].n_unique()
    if not results.equals(wanted):
        seen.lost += len(wanted.join(results, on=STABLE, how="anti", nulls_equal=True))
        seen.faults.append(f"{place}: other results")


def power_cuts(
    folder: Path, *, states: int, life: Sequence[Step] = LIFE, slow_sync: float = 0.0, seed: int = 0
) -> Seen:
    """Record a job's life, and cut the power `states` times."""
    setting, seen = Setting(JobFolder(folder)), Seen()
    config = SimulatorConfig(latency=UniformLatency(kind="uniform", low=0.01, high=0.06))
    with start_simulator(config, ledger=setting.job.ledger) as base_url:
        setting.job.write(
            base_url, endpoints={"local": {"base_url": base_url, "limits": {"concurrency": CONCURRENCY}}}
        )
        recording = setting.record(life, slow_sync=slow_sync)
        seen.changes = len(recording.disk.changes)
        seen.syncs = sum(change.kind == "sync" for change in recording.disk.changes)
        seen.longest_sync = recording.longest_sync
        for number, instant in enumerate(instants(recording.disk, states, seed)):
            extreme = EXTREMES[number // 2 % len(EXTREMES)]
            choice = extreme if number % 2 else Chance(seed + number)
            cut(setting, recording, instant, choice, seen)
    return seen


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """Power cuts with the disk as fast as it is, and with one whose fsync takes 60 ms more."""
    if not has_strace():
        yield not_run("power cuts", "strace is missing")
        return
    for slow_sync in (0.0, 0.06) if full else (0.0,):
        here = folder / f"slow-{slow_sync}"
        here.mkdir()
        seen = power_cuts(here, states=300 if full else 25, slow_sync=slow_sync)
        name = "power cuts" if not slow_sync else f"power cuts, fsync {slow_sync * 1000:.0f} ms slower"
        yield Line(
            name,
            f"{seen.states} states of {seen.changes:,} changes",
            held=seen.held,
            lost=seen.lost,
            duplicated=seen.duplicated,
            repaid=seen.repaid,
            crashed=seen.crashed,
            note=_note(seen),
        )


def _note(seen: Seen) -> str:
    told = [
        f"{seen.syncs} syncs, the journal's longest {seen.longest_sync * 1000:.0f} ms",
        f"the oldest answer lost stood {seen.oldest * 1000:.0f} ms in the journal",
        *seen.faults[:5],
    ]
    return "; ".join(told)
