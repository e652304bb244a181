"""A rate-limited server in a process of its own, and how near `batchrun submit` comes to its limits.

The truth is the simulator's ledger. What the run sent is compared with what a perfect packer, that knows
every limit beforehand and sends the same prompts in the same order, would have sent by then.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from batchrun.codec import dumps
from batchrun.simulator import Call, SimulatorConfig
from batchrun.simulator.reading.request import ChatRequest, receive
from tests.pacing import Prompt, Server, ideal
from tests.reliability.table import Line
from tests.runs import JobFolder, run_batchrun, simulated

Shape = Literal["small", "large", "mixed"]
Count = Literal["estimate", "actual"]
SHAPES: tuple[Shape, ...] = ("small", "large", "mixed")
COUNTS: tuple[Count, ...] = ("estimate", "actual")
TOKENS = 100_000
"""What the server takes in a window."""
_SHARES = {"small": (0.02,), "large": (0.19, 0.23), "mixed": (0.01, 0.02, 0.05, 0.1, 0.3)}


@dataclass(frozen=True, slots=True)
class Case:
    """A server, and what the job knows of it."""

    window: float
    shape: Shape
    count: Count = "estimate"
    discovered: bool = False
    """The job names no limit: headers alone tell."""
    bucket: bool = False
    killed: bool = False
    """SIGKILL in the middle, and a resume."""
    latency: float = 0.1
    windows: float = 12
    """How many windows the run takes at best."""

    def __str__(self) -> str:
        known = "discovered" if self.discovered else "given"
        parts = [f"{self.window:g} s", self.shape, known, self.count, "bucket" if self.bucket else ""]
        return " ".join(filter(None, [*parts, "killed" if self.killed else ""]))


@dataclass(frozen=True, slots=True)
class Pace:
    """What the server saw."""

    calls: int
    refused: int
    """Calls over the limit, of those that were sent after the first answer."""
    refused_at_first: int
    """The same, of those sent before the limits can have been known."""
    seconds: float
    ideal: float
    """Seconds that a perfect packer takes for the same prompts, while the job runs."""
    ok: bool
    """Every row has its answer."""
    too_early: int = field(default=0)
    """Calls that came before a Retry-After had passed."""

    @property
    def share(self) -> float:
        return self.ideal / self.seconds if self.seconds else 1.0


def table() -> Iterator[Case]:
    """Every window, shape and way to know a limit; those of a minute run for three of them."""
    for window in (1.0, 10.0, 60.0):
        for count in COUNTS:
            for discovered in (False, True):
                for shape in SHAPES:
                    yield Case(window, shape, count, discovered, windows=15 if window == 1 else 3)
        yield Case(window, "mixed", killed=True, windows=15 if window == 1 else 3)


def described(case: Case, seen: Pace) -> str:
    """One line of the table."""
    return (
        f"{case}: {seen.share:.0%} of the ideal, {seen.refused} of {seen.calls} calls refused, "
        f"{seen.refused_at_first} more before limits were known; {seen.too_early} came back too early"
    )


def pace(folder: Path, case: Case) -> Pace:
    """Run a job against a server of `case`; it takes about `case.windows` windows."""
    rows = _rows(case)
    config = {
        "limits": {
            "tpm": TOKENS,
            "window": case.window,
            "count": case.count,
            "kind": "bucket" if case.bucket else "sliding",
        },
        "latency": {"kind": "lognormal", "median": case.latency, "sigma": 0.3},
        "bodies": True,
    }
    limits: dict[str, Any] = {"concurrency": "auto"}
    if not case.discovered:
        limits |= {"tpm": round(TOKENS * 60 / case.window), "window": f"{case.window:g}s"}
    with simulated(
        folder,
        rows=0,
        config=config,
        endpoints={"local": {"limits": limits}},
        request={"max_completion_tokens": "{{ max_tokens }}"},
    ) as job:
        job.rows.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        down = [_killed(job, len(rows) // 2)] if case.killed else []
        done = run_batchrun("submit", str(job.job), timeout=case.windows * case.window * 4 + 120)
        assert done.returncode == 0, done.stderr
        calls, finished = job.calls(), job.run_json()["ok"] == len(rows)
    return _measured(case, calls, down, ok=finished)


def _rows(case: Case) -> list[dict[str, Any]]:
    """Prompts of some shares of the limit: a third of them prompt, the rest room for the answer."""
    rng = random.Random(7)
    rows: list[dict[str, Any]] = []
    total = 0.0
    while total < case.windows * TOKENS:
        asked = int(TOKENS * rng.choice(_SHARES[case.shape]) * rng.uniform(0.9, 1.1))
        prompt = asked // 3
        number = len(rows)
        text = f"row {number:06d}: " + "word " * (prompt * 4 // 5)
        rows.append({"id": f"r{number:06d}", "text": text, "max_tokens": asked - prompt})
        total += asked if case.count == "estimate" else prompt * 0.8 + min(40, asked - prompt)
    return rows


def _killed(job: JobFolder, calls: int) -> float:
    """Submit, and kill once the server has seen so many calls; when that was."""
    process = subprocess.Popen(job.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while _seen(job) < calls:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return time.time()


def _seen(job: JobFolder) -> int:
    if not job.ledger.exists():
        return 0
    with job.ledger.open("rb") as file:
        return sum(line.startswith(b'{"event":"call"') for line in file)


def _measured(case: Case, calls: Sequence[Call], killed_at: Sequence[float], *, ok: bool) -> Pace:
    first = next(call.answer.at for call in calls if call.answer and call.answer.status == 200)
    refused = [call for call in calls if call.answer is not None and call.answer.status == 429]
    late = sum(call.at > first + 0.05 for call in refused)
    sent = [call for call in calls if call.answer is None or call.answer.status == 200]
    start, end = sent[0].at, sent[-1].at
    down = [(at - start, next(call.at for call in calls if call.at > at) - start) for at in killed_at]
    server = Server(tpw=TOKENS, window=case.window, count="asked" if case.count == "estimate" else "used")
    best, _ = ideal(server, [_prompt(call) for call in sent], down=down)
    stood = sum(until - since for since, until in down)
    return Pace(
        len(calls), late, len(refused) - late, end - start - stood, best - stood, ok, _too_early(calls)
    )


def _prompt(call: Call) -> Prompt:
    assert call.body is not None
    request = receive(dumps(call.body), SimulatorConfig()).content
    assert isinstance(request, ChatRequest)
    used = call.prompt_tokens + (call.answer.completion_tokens if call.answer else 0)
    return Prompt(request.estimate, request.estimate, used)


def _too_early(calls: Sequence[Call]) -> int:
    """Calls of a row that came again before its own Retry-After had passed."""
    by_row: dict[str, list[Call]] = {}
    for call in calls:
        by_row.setdefault(call.prompt, []).append(call)
    return sum(
        before.answer is not None
        and before.answer.retry_after is not None
        and after.at < before.answer.at + before.answer.retry_after
        for row in by_row.values()
        for before, after in pairwise(row)
    )


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """Limits of 1, 10 and 60 seconds: no refusal once they are known, and 95% where the job gives them; half
    of it where they are found out on the way, in a run of so few windows."""
    cases = list(table()) if full else [Case(1.0, "mixed"), Case(1.0, "small", killed=True)]
    for number, case in enumerate(cases):
        place = folder / f"pace-{number:02d}"
        place.mkdir()
        seen = pace(place, case)
        enough = seen.share >= (0.5 if case.discovered else 0.95)
        held = seen.ok and enough and not (seen.too_early or seen.refused)
        yield Line("pace under limits", str(case), held, note=described(case, seen))
