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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from batchrun.job.spending import PriceSpec
from batchrun.prices import find_price, prompt_bound
from batchrun.simulator import Call, SimulatorConfig, read_ledger, start_process
from batchrun.summary import Summary
from tests.runs import JobFolder

Kind: TypeAlias = Literal["cost_usd", "tokens", "requests"]

PLACES = 10
"""Where a cap may lie: at 0 it holds one call, at the last one more than the run takes."""

PRICES = {"local/small": {"input": 3.0, "output": 15.0}, "spare/large": {"input": 10.0, "output": 70.0}}
"""USD per million tokens, for the job and for the simulators."""

FAULTS: tuple[dict[str, Any], ...] = (
    {"rate": 0.05, "status": 429, "retry_after": 0.2},
    {"rate": 0.05, "status": 429},
    {"rate": 0.06, "status": 500},
    {"rate": 0.04, "status": 503},
    {"rate": 0.03, "status": 504},
    {"rate": 0.05, "reset": "mid_body"},
    {"rate": 0.04, "reset": "before_headers"},
    {"rate": 0.03, "stall": 0.9},
    {"rate": 0.04, "status": 200, "raw_body": '{"choices":[{"message":{"content":"yes"}}]}'},
    {"rate": 0.04, "error_in_200": 502},
    {"rate": 0.05, "answer": "malformed"},
    {"rate": 0.03, "answer": "null_choices"},
    {"rate": 0.1, "first": 1, "per": "conversation", "output": "invalid"},
)
"""Each trial has some of them. The stall is longer than the idle timeout."""

CONCURRENCY: tuple[int | str, ...] = (1, 3, 8, 32, 64, "auto", "auto")
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
RETRY = {
    "max_attempts": 4,
    "reask": 2,
    "backoff": {"initial": 0.02, "max": 0.2},
    "timeout": {"connect": 2, "idle": 0.5, "total": 3, "row": 60},
}

_SHORTEST, _LONGEST = 150, 5_000
"""Bytes that every request of a trial has, and more than any has, with all that it asks again."""
_NEXT = re.compile(r"the next call may (?:cost|take) up to \$?([0-9.,]+[0-9])")


@dataclass(frozen=True, slots=True)
class Trial:
    """What is drawn from a seed."""

    seed: int
    kind: Kind
    place: int
    rows: int
    choices: int
    limit: int
    concurrency: int | str
    stream: bool
    schema: bool
    falls_back: bool
    hedges: bool
    dedupe: bool
    tokens_per_byte: float | None
    reports: bool
    faults: tuple[dict[str, Any], ...]
    kills: tuple[float, ...]
    """Powers of the rows: after so many calls a submit is killed, mostly after few."""

    @property
    def most(self) -> int | float:
        """More than one call can take."""
        return self._bound(_LONGEST, ["local/small", "spare/large"][: 1 + self.falls_back])

    @property
    def cap(self) -> int | float:
        """From what is reserved for the shortest request to more than most runs take."""
        if self.kind == "requests":
            return 1 + round(1.6 * self.rows * self.place / (PLACES - 1))
        cap = self._bound(_SHORTEST, ["local/small"]) * (self.rows / 6) ** (self.place / (PLACES - 1))
        return cap if self.kind == "cost_usd" else int(cap)

    def _bound(self, size: int, models: Sequence[str]) -> int | float:
        prompt, output = prompt_bound(size), self.choices * self.limit
        if self.kind == "requests":
            return 1
        if self.kind == "tokens":
            return prompt + output
        given = (PriceSpec.model_validate(PRICES[model]) for model in models)
        prices = (find_price("", base_urls=(), given=price, now=0.0) for price in given)
        return max(price.bound(prompt, output) for price in prices if price)


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


def draw(seed: int, kind: Kind = "cost_usd") -> Trial:
    """The trial of a seed; ten seeds in a row have a cap at each of the places."""
    dice = random.Random(f"{kind} {seed}")
    return Trial(
        seed=seed,
        kind=kind,
        place=seed % PLACES,
        rows=dice.randint(20, 120),
        choices=dice.choice([1, 1, 2, 3]),
        limit=dice.choice([5, 30, 400]),
        concurrency=dice.choice(CONCURRENCY),
        stream=dice.random() < 0.2,
        schema=dice.random() < 0.3,
        falls_back=dice.random() < 0.4,
        hedges=dice.random() < 0.4,
        dedupe=dice.random() < 0.3,
        tokens_per_byte=dice.choice([None, 0.25, 0.6, 1.0]),
        reports=dice.random() < 0.2,
        faults=tuple(dice.sample(FAULTS, dice.randint(0, 5))),
        kills=tuple(sorted(dice.random() for _ in range(dice.choice([0, 0, 1, 2, 3])))),
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
        start_process(local, ledger=job.ledger) as base_url,
        start_process(spare, ledger=job.folder / "spare.jsonl") as other,
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
