"""Submits by batches that are killed at any moment, while the provider loses answers, refuses and expires.

Each round is one run: some submits are killed at random moments, later ones go on to the end. No row may be
answered twice, none may be lost, and the books must be those of the provider.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.batches.batched import batched, provider_batches
from tests.reliability.table import Line
from tests.runs import JobFolder, asked, run_batchrun

ROWS = 240
_PLACES = ("upload", "create", "get", "content", "cancel", "list")
_SUBMITS = 8


@dataclass
class Seen:
    """What rounds came to."""

    kills: int = 0
    batches: int = 0
    faults: int = 0
    realtime: int = 0
    """Rows that went on in realtime."""
    lost: int = 0
    duplicated: int = 0
    repaid: int = 0
    crashed: int = 0
    wrong: list[str] = field(default_factory=list)


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """The section's line."""
    rounds = 100 if full else 4
    seen = Seen()
    for number in range(rounds):
        batch(folder / str(number), number, seen)
    held = not (seen.lost or seen.duplicated or seen.repaid or seen.crashed)
    note = (
        f"{seen.batches:,} batches; {seen.faults:,} answers of the provider were to be lost, cut or refused; "
        f"{seen.realtime:,} rows went on in realtime"
    )
    yield Line(
        "submits by batches killed at any moment",
        f"{seen.kills:,} kills in {rounds} runs of {ROWS} rows",
        held,
        lost=seen.lost,
        duplicated=seen.duplicated,
        repaid=seen.repaid,
        crashed=seen.crashed,
        note="; ".join([note, *seen.wrong[:5]]),
    )


def batch(folder: Path, seed: int, seen: Seen) -> None:
    """One run."""
    drawn = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    faults = [_fault(drawn) for _ in range(drawn.randint(0, 5))]
    rules: dict[str, Any] = {"seconds": drawn.uniform(0.05, 1.5), "faults": faults, "cancelling": 0.1}
    engine = {"max_lines": drawn.choice([50, 100, 240]), "leftovers": drawn.choice(["batch", "realtime"])}
    if drawn.random() < 0.3:
        rules["expires_after"] = drawn.uniform(0.5, 1.5)
        if engine["leftovers"] == "batch":  # with too little time its last row would never end
            rules["expires_after"] = rules["seconds"] + drawn.uniform(0.7, 1.0)
    sections: dict[str, Any] = {"retry": {"backoff": {"initial": 0.01, "max": 0.1}}}
    if drawn.random() < 0.3:
        sections["finish_by"] = f"{drawn.randint(2, 6)}s"
    broken = [
        {"match": f"row {number:06d}", "status": 500, "first": 1} for number in drawn.sample(range(ROWS), 3)
    ]
    with batched(
        folder, rows=ROWS, batches=rules, engine=engine, config={"faults": broken}, **sections
    ) as job:
        for _ in range(drawn.randint(1, 5)):
            seen.kills += _killed(job, drawn.uniform(0.3, 2.0))
        codes: list[int] = []
        while len(codes) < _SUBMITS and 0 not in codes:
            codes.append(run_batchrun("submit", str(job.job)).returncode)
        _judge(job, codes, seen, f"run {seed}")
        seen.faults += len(faults)


def _fault(drawn: random.Random) -> dict[str, Any]:
    """What the provider does wrong once."""
    act = drawn.choice(["lose", "cut", "refuse"])
    fault = {"on": drawn.choice(_PLACES), "nth": drawn.randint(1, 4), "act": act}
    return {**fault, "status": drawn.choice([500, 503])} if act == "refuse" else fault


def _killed(job: JobFolder, after: float) -> bool:
    """A submit that is killed so many seconds after its start, unless it ends before."""
    with subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    return False


def _judge(job: JobFolder, codes: list[int], seen: Seen, name: str) -> None:
    good = {
        row: sum(call.answer is not None and call.answer.status == 200 for call in calls)
        for row, calls in asked(job.calls()).items()
    }
    results = job.results()
    ok = results.filter(results["status"] == "ok")
    problems = {
        "lost": ROWS - ok["row_id"].n_unique(),
        "duplicated": len(results) - results["row_id"].n_unique(),
        "repaid": sum(max(0, times - 1) for times in good.values()),
        "crashed": sum(code not in (0, 3) for code in codes) + (0 not in codes),
    }
    ledger = sum(call.answer.cost_usd or 0 for call in job.calls() if call.answer)
    if abs((job.run_json()["cost_usd"] or 0) - ledger) > 1e-9:
        problems["crashed"] += 1
        seen.wrong.append(f"{name}: {job.run_json()['cost_usd']} against {ledger} USD")
    for what, number in problems.items():
        setattr(seen, what, getattr(seen, what) + number)
    if any(problems.values()):
        seen.wrong.append(f"{name}: {problems}, exit codes {codes}")
    seen.batches += len(provider_batches(job))
    seen.realtime += results["batch_id"].null_count()
