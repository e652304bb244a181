"""One submit that something befalls, and the one after it, when all is well again: what that cost.

The truth is the simulator's ledger, and a copy of the checkpoint as the first submit left it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchrun.simulator import SimulatorConfig
from tests.reliability.held import Reader
from tests.reliability.table import Line
from tests.runs import JobFolder, asked, run_batchrun, write_rows
from tests.simulators import start_simulator

CONCURRENCY = 8

MOST_SECONDS = 60.0
"""A run that takes longer hangs."""

_TRACEBACKS = ("Traceback (most recent call last)", "bug in batchrun", "never retrieved")


@dataclass(slots=True)
class Seen:
    """What was seen of one case."""

    case: str
    exit_code: int = 0
    text: str = ""
    """What the submit said: standard error, then standard output."""
    seconds: float = 0.0
    hung: bool = False
    lost: int = 0
    duplicated: int = 0
    repaid: int = 0
    """Calls for a row whose answer the checkpoint held."""
    extra: int = 0
    """Calls more than rows."""
    in_flight: int = 0
    """Calls without an answer in the checkpoint when the submit had ended."""
    wrong: list[str] = field(default_factory=list)
    """What was not as promised."""

    @property
    def crashed(self) -> bool:
        """Whether it ended by a traceback, or by a bug's exit code."""
        return self.exit_code == 70 or any(sign in self.text for sign in _TRACEBACKS)

    def judge(self, codes: Sequence[int]) -> Seen:
        """Note what was not as promised; `codes` are the exit codes that its cause has."""
        if self.exit_code not in codes:
            self.wrong.append(f"exit code {self.exit_code}")
        if self.crashed:
            self.wrong.append("traceback")
        if self.extra > self.in_flight:
            self.wrong.append(f"{self.extra} calls more than rows, {self.in_flight} in flight")
        for count, name in ((self.lost, "lost"), (self.duplicated, "duplicated"), (self.repaid, "re-paid")):
            if count:
                self.wrong.append(f"{count} {name}")
        if self.hung:
            self.wrong.append("hung")
        return self


@contextmanager
def served(folder: Path, latency: float = 0.03, **sections: Any) -> Iterator[Callable[[str, int], JobFolder]]:
    """A simulator, and what makes a job of so many rows that asks it, each in a folder of its own name.

    The ledger is one for all; prompts name the job.
    """
    config = SimulatorConfig.model_validate({"latency": {"kind": "constant", "seconds": latency}})
    ledger = folder / "ledger.jsonl"
    with start_simulator(config, ledger=ledger) as base_url:

        def job(name: str, rows: int) -> JobFolder:
            made = Case(folder / name, ledger)
            made.folder.mkdir()
            write_rows(made.rows, rows)
            limits = {"local": {"base_url": base_url, "limits": {"concurrency": CONCURRENCY}}}
            prompt = {"messages": [{"role": "user", "content": "{{ text }} " + f"[{name}]"}]}
            made.write(base_url, **{"endpoints": limits, "prompt": prompt, **sections})
            return made

        yield job


@dataclass(frozen=True, slots=True)
class Case(JobFolder):
    """A job whose calls stand in a ledger with those of others."""

    shared: Path

    @property
    def ledger(self) -> Path:
        return self.shared

    def calls(self) -> list[Any]:
        mark = f"[{self.folder.name}]"
        return [call for call in JobFolder.calls(self) if call.prompt.rstrip().endswith(mark)]


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    beside: Callable[[subprocess.Popen[str]], None] | None = None,
    timeout: float = MOST_SECONDS,
    **streams: Any,
) -> Seen:
    """Run a command to its end; `beside` is called while it goes."""
    seen = Seen("")
    began = time.monotonic()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    process = subprocess.Popen(command, text=True, env={**os.environ, **(env or {})}, **pipes)
    try:
        if beside:
            beside(process)
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        seen.hung = True
        process.kill()
        out, err = process.communicate()
    seen.seconds = time.monotonic() - began
    seen.exit_code, seen.text = process.returncode, (err or "") + (out or "")
    return seen


def settle(job: JobFolder, rows: int, seen: Seen) -> None:
    """Count what the submit left, submit again until done, and count what that cost."""
    at = time.time()
    held: frozenset[int] = frozenset()
    if job.checkpoint.exists():
        found = Reader().read(job.checkpoint)
        held, seen.in_flight = frozenset(row for row, _ask in found.answers), len(found.open_calls())
    again = run_batchrun("submit", str(job.job), timeout=MOST_SECONDS)
    if again.returncode != 0:
        seen.wrong.append(f"the next submit ended with {again.returncode}: {again.stderr.strip()[-200:]}")
        return
    results, calls = job.results(), job.calls()
    answered = set(results.filter(results["status"] == "ok")["row_index"].to_list())
    seen.lost = len(held - answered) + rows - len(answered | held)
    seen.duplicated = len(results) - results["row_index"].n_unique()
    seen.extra = len(calls) - rows
    seen.repaid = sum(call.at > at for row, of_row in asked(calls).items() if row in held for call in of_row)


def summed(test: str, size: str, seen: Sequence[Seen], note: str = "") -> Line:
    """The line of the table for many cases; the note says which were not as promised."""
    wrong = [f"{one.case}: {', '.join(one.wrong)}" for one in seen if one.wrong]
    extra, in_flight = sum(one.extra for one in seen), sum(one.in_flight for one in seen)
    told = [note] * bool(note) + [f"{extra} calls more than rows, {in_flight} in flight"] + wrong[:6]
    return Line(
        test,
        size,
        held=not wrong,
        lost=sum(one.lost for one in seen),
        duplicated=sum(one.duplicated for one in seen),
        repaid=sum(one.repaid for one in seen),
        hung=sum(one.hung for one in seen),
        crashed=sum(one.crashed for one in seen),
        note="; ".join(told),
    )
