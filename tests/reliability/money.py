"""Runs under a budget, drawn at random, and what the simulators' ledgers say that they took.

A trial is a job under one cap: rows, concurrency, faults, prices and kills are drawn from its seed. It is
submitted, killed and resumed until it ends by itself. Then the cap is raised, and it is run to its end.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchrun.simulator import Call, SimulatorConfig, read_ledger
from batchrun.summary import Summary
from tests.reliability.drawn import PRICES, Kind, Trial, draw
from tests.reliability.table import Line
from tests.runs import JobFolder
from tests.simulators import start_simulator

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
RETRY = {
    "max_attempts": 4,
    "reask": 2,
    "backoff": {"initial": 0.02, "max": 0.2},
    "timeout": {"connect": 2, "idle": 0.5, "total": 3, "row": 60},
}

_NEXT = re.compile(r"the next call may (?:cost|take) up to \$?([0-9.,]+[0-9])")


@dataclass(slots=True)
class Taken:
    """What a trial took, by the ledgers, and what batchrun says."""

    trial: Trial
    calls: int = 0
    truth: float = 0
    """When the run had ended by itself under its cap."""
    said: float = 0
    kills: int = 0
    stopped: bool = False
    wrong: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of the cap."""
        return self.truth / self.trial.cap


def trials(folder: Path, *, cost: int, tokens: int, requests: int) -> list[Taken]:
    """So many trials under a cap of each kind, each in a folder of its own."""
    numbers: dict[Kind, int] = {"cost_usd": cost, "tokens": tokens, "requests": requests}
    taken = []
    for kind, number in numbers.items():
        for seed in range(number):
            place = folder / f"{kind}-{seed:03d}"
            place.mkdir()
            taken.append(spend(place, draw(seed, kind)))
    return taken


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """Random runs under caps, with kills and faults: the ledger never passes one."""
    size = 100 if full else 2
    taken = trials(folder, cost=size, tokens=size * 3 // 10 or 1, requests=size * 3 // 10 or 1)
    wrong = [f"{one.trial.kind} {one.trial.seed}: {what}" for one in taken for what in one.wrong]
    calls, kills = sum(one.calls for one in taken), sum(one.kills for one in taken)
    stopped, most = sum(one.stopped for one in taken), max(one.share for one in taken)
    yield Line(
        "caps on cost, tokens, requests",
        f"{len(taken)} runs, {calls:,} calls",
        held=not wrong,
        note=f"{kills} kills, {stopped} stopped by their budget: at most {most:.1%} of a cap taken; "
        + ("; ".join(wrong) or "no promise broken"),
    )


def spend(folder: Path, trial: Trial) -> Taken:
    """Run a trial; `Taken.wrong` says which promises it broke."""
    taken = Taken(trial)
    with _asking(folder, trial) as job:
        job.edit(budget={trial.kind: trial.cap})
        for share in trial.kills:
            taken.kills += _killed(job, round(trial.rows**share))
        summary = job.submit_here()
        _judge(summary, taken, _calls(job))
        answered = _answered(job)
        before = time.time()
        job.edit(budget={trial.kind: trial.most * 100 * trial.rows})
        last = job.submit_here()
        again = [call for call in _calls(job) if call.at > before and call.prompt in answered]
    if last.state != "finished" or last.pending:
        taken.wrong.append(f"with a cap raised it ended as {last.state}: {last.stopped_by}")
    if again:
        taken.wrong.append(f"{len(again)} calls for rows that had answers")
    if last.spent[trial.kind] < _truth(_calls(job), trial.kind) * (1 - 1e-9):
        taken.wrong.append("after all it says that less was spent than the ledger does")
    return taken


def _judge(summary: Summary, taken: Taken, calls: list[Call]) -> None:
    """Hold the end under the cap against the ledgers."""
    trial, cap, wrong = taken.trial, taken.trial.cap, taken.wrong
    taken.calls, taken.truth = len(calls), _truth(calls, trial.kind)
    taken.said = summary.spent[trial.kind]
    taken.stopped = summary.exit_code == 3
    if taken.truth > cap * (1 + 1e-9):
        wrong.append(f"the ledger has {taken.truth}, more than the cap of {cap}")
    if taken.truth > taken.said * (1 + 1e-9):
        wrong.append(f"the ledger has {taken.truth}, batchrun says {taken.said}")
    if taken.said > cap * (1 + 1e-9):
        wrong.append(f"batchrun says that {taken.said} are spent, of {cap}")
    if not taken.stopped:
        if summary.exit_code not in (0, 1) or summary.pending:
            wrong.append(f"exit {summary.exit_code}, {summary.pending} rows pending: {summary.stopped_by}")
        return
    if summary.stopped_by is None or summary.stopped_by.kind != "budget":
        wrong.append(f"stopped by {summary.stopped_by}")
        return
    said = _NEXT.search(summary.stopped_by.message)
    wanted = float(said[1].replace(",", "")) * 1.06 if said else trial.most  # two digits are shown
    if cap - taken.said >= min(wanted, trial.most):
        wrong.append(f"stopped early: {cap - taken.said} are left, the next call takes {wanted}")


@contextmanager
def _asking(folder: Path, trial: Trial) -> Iterator[JobFolder]:
    """The trial's job, and the simulators that it asks."""
    job = JobFolder(folder)
    _write_rows(job.rows, trial)
    local, spare = _config(trial, "local/small"), _config(trial, "spare/large")
    with (
        start_simulator(local, ledger=job.ledger) as base_url,
        start_simulator(spare, ledger=job.folder / "spare.jsonl") as other,
    ):
        job.write(base_url, **_sections(trial, base_url, other))
        yield job


def _write_rows(path: Path, trial: Trial) -> None:
    """Prompts of many lengths; where equal ones are asked once, a third of them are equal."""
    dice = random.Random(trial.seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(trial.rows):
            asked = number - number % 3 if trial.dedupe else number
            words = "wörd " * random.Random(asked).choice([0, 3, 40])
            text = f'row {asked:06d}: {words} "\n"'
            file.write(json.dumps({"id": f"r{number}", "text": text, "n": dice.random()}) + "\n")


def _config(trial: Trial, model: str) -> SimulatorConfig:
    return SimulatorConfig.model_validate(
        {
            "seed": trial.seed,
            "latency": {"kind": "uniform", "low": 0.0, "high": 0.04},
            "faults": trial.faults,
            "cost": {**PRICES[model], "report": trial.reports},
            "tokens_per_byte": trial.tokens_per_byte,
        }
    )


def _sections(trial: Trial, base_url: str, other: str) -> Mapping[str, Any]:
    """The job file's sections, but for the budget."""
    limits = {"concurrency": trial.concurrency}
    sections: dict[str, Any] = {
        "request": {"max_completion_tokens": trial.limit, "n": trial.choices, "stream": trial.stream},
        "endpoints": {
            "local": {"base_url": base_url, "limits": limits},
            "spare": {"base_url": other, "limits": {"concurrency": 4}},
        },
        "prices": PRICES,
        "retry": RETRY,
        "dedupe": trial.dedupe,
        "stop_when": {"failed": "100%", "after": 100_000},
    }
    if trial.schema:
        sections["schema"] = SCHEMA
    if trial.falls_back:
        sections["fallbacks"] = ["spare/large"]
        sections["fallback_on"] = ["server", "connection", "timeout", "invalid_output", "truncated"]
    if trial.hedges:
        sections["tail"] = {"hedge_after": "p50"}
    return sections


def _killed(job: JobFolder, after: int) -> int:
    """Submit, and kill when the simulator has received `after` calls more; 0 if the run ended before."""
    wanted = _received(job) + after
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and _received(job) < wanted:
        time.sleep(0.002)
    killed = process.poll() is None
    process.kill()
    process.wait()
    return int(killed)


def _received(job: JobFolder) -> int:
    return job.ledger.read_bytes().count(b'"event":"call"')


def _calls(job: JobFolder) -> list[Call]:
    """What both simulators received, once they have noted how the last calls ended."""
    time.sleep(0.1)
    return [*job.calls(), *read_ledger(job.folder / "spare.jsonl")]


def _truth(calls: list[Call], kind: Kind) -> float:
    """What was billed, whether it was delivered or not."""
    if kind == "requests":
        return len(calls)
    answers = [call.answer for call in calls if call.answer and call.answer.billed]
    if kind == "tokens":
        return sum(answer.prompt_tokens + answer.completion_tokens for answer in answers)
    return sum(answer.cost_usd or 0.0 for answer in answers)


def _answered(job: JobFolder) -> set[str]:
    """The prompts of the rows that are ok."""
    results = job.results()
    ok = results.filter(results["status"] == "ok")["text"].to_list()
    return {text[:200] for text in ok}
