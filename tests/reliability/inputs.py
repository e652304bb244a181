"""Inputs that are wrong, odd or hostile: each ends as it must, and no value is changed on the way.

The checker reads each source by the standard library, numbers with a point as decimals, and compares it with
the body that the simulator received and with the results. What could take others along has its own process.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from batchrun.simulator import SimulatorConfig
from tests.reliability.corpus import (
    csv_tables,
    env_files,
    jobs,
    json_documents,
    jsonl_tables,
    media,
    parquet_tables,
    paths,
    predicates,
    request_files,
    strings,
    templates,
)
from tests.reliability.corpus.case import Case
from tests.reliability.corpus.trial import Seen, faults, prepared, submitted, surveyed
from tests.reliability.measured import own_peak
from tests.reliability.table import Line
from tests.simulators import start_simulator

MODULES = (
    *(json_documents, jsonl_tables, csv_tables, parquet_tables, request_files, strings, paths),
    *(jobs, templates, media, env_files, predicates),
)
NOWHERE = "http://127.0.0.1:9/v1"
"""Nothing is asked there."""
DEADLINE = 60
"""Seconds for a case of its own process."""
MEMORY = 700_000_000
"""Bytes that such a process may take at its peak; a row of 50 MB is held some times over."""


@dataclass(slots=True)
class Tally:
    """What a series of cases came to."""

    cases: int = 0
    groups: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Case and what was not as it must be."""
    crashed: int = 0
    changed: int = 0
    hung: int = 0

    def take(self, case: Case, found: Sequence[str]) -> None:
        """Count one case."""
        self.cases += 1
        self.groups[case.group] += 1
        self.wrong += [f"{case.group}, {case.name}: {text}" for text in found]
        self.crashed += any(text.startswith("crashed") for text in found)
        self.changed += any(text.startswith("changed") for text in found)
        self.hung += any(text.startswith("hung") for text in found)


def every_case() -> Iterator[Case]:
    """The whole corpus."""
    for module in MODULES:
        yield from module.cases()


def look(cases: Sequence[Case], folder: Path) -> Tally:
    """Each case up to the asking."""
    tally = Tally()
    for number, case in enumerate(cases):
        job = prepared(case, folder / f"{number:04}", NOWHERE)
        tally.take(case, list(faults(case, surveyed(case, job))))
    return tally


def ask(cases: Sequence[Case], folder: Path) -> Tally:
    """Each case as a whole run against one simulator."""
    tally = Tally()
    ledger = folder / "ledger.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    with start_simulator(SimulatorConfig(bodies=True), ledger=ledger) as base_url:
        for number, case in enumerate(cases):
            job = prepared(case, folder / f"{number:04}", base_url)
            offset = ledger.stat().st_size
            tally.take(case, list(faults(case, submitted(case, job, ledger, offset))))
    return tally


def alone(cases: Sequence[Case], folder: Path) -> Tally:
    """Each case in a process of its own, by its exit code, its time and its memory."""
    tally = Tally()
    for number, case in enumerate(cases):
        job = prepared(case, folder / f"{number:04}", NOWHERE)
        command = [sys.executable, "-m", "tests.reliability.inputs", str(job.job)]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
        except subprocess.TimeoutExpired:
            tally.take(case, [f"hung: more than {DEADLINE} s"])
            continue
        tally.take(case, list(_measured(case, ended)))
    return tally


def _measured(case: Case, ended: subprocess.CompletedProcess[str]) -> Iterator[str]:
    peak, _, failures = ended.stdout.partition("\n")
    if ended.returncode not in (0, 2):
        yield f"crashed: {ended.returncode} {ended.stderr[-300:]}"
    elif ended.returncode == 0:
        if int(peak) > MEMORY:
            yield f"took {int(peak):,} bytes"
        yield from faults(replace(case, values=None), Seen(failures=dict(_numbered(failures))))


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    for line in text.splitlines():
        number, _, message = line.partition(" ")
        yield int(number), message


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """The corpus up to the asking, whole runs, and those that need a process of their own."""
    corpus = list(every_case())
    together = [case for case in corpus if not case.alone]
    tables = [case for case in together if case.values is not None and case.env_file is None]
    own = [case for case in corpus if case.alone]
    yield _line("bad inputs, read and rendered", look(together if full else together[::4], folder / "look"))
    yield _line("tables, asked and published", ask(tables if full else tables[::12], folder / "ask"))
    yield _line("inputs of a process's whole memory", alone(own if full else own[1:4], folder / "alone"))


def _line(test: str, tally: Tally) -> Line:
    groups = ", ".join(f"{count} {group}" for group, count in tally.groups.items())
    return Line(
        test,
        f"{tally.cases:,} inputs",
        held=not tally.wrong,
        hung=tally.hung,
        crashed=tally.crashed,
        note="; ".join([f"{tally.changed} silently changed values; {groups}", *tally.wrong[:5]]),
    )


def _main(job_file: Path) -> int:
    """Look at a job by itself: peak memory, then the rows that fail."""
    from tests.runs import JobFolder

    seen = surveyed(Case("", ""), JobFolder(job_file.parent))
    if seen.crash:
        sys.stderr.write(seen.crash)
        return 70
    peak = own_peak()
    failures = "".join(f"{row} {message}\n" for row, message in seen.failures.items())
    sys.stdout.write(f"{peak}\n{failures}")
    return seen.code if seen.refusal else 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
