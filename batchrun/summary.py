"""What a submit did, while it runs and when it has ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

StopKind = Literal[
    "no_model", "refused", "breaker", "canary", "budget", "wall_time", "storage", "SIGINT", "SIGTERM"
]

RunState = Literal["running", "finished", "stopped", "interrupted"]

EXIT_CODES: dict[StopKind, int] = {
    "no_model": 3,
    "refused": 4,
    "breaker": 3,
    "canary": 3,
    "budget": 3,
    "wall_time": 3,
    "storage": 3,
    "SIGINT": 130,
    "SIGTERM": 143,
}


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a submit ended before every row had an outcome."""

    kind: StopKind
    message: str
    at_once: bool = False
    """The user would not wait: neither for calls under way nor for the results to be published."""

    @property
    def exit_code(self) -> int:
        """What the shell sees."""
        return EXIT_CODES[self.kind]


@dataclass(slots=True)
class Counters:
    """What the current submit has done so far; the engine counts, progress displays read."""

    to_do: int = 0
    ok: int = 0
    failed: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Failed rows by `error.type`."""
    tool_calls: int = 0
    cost_usd: float | None = None
    """Of the calls whose cost is known."""
    hedged: int = 0
    """Calls that were sent a second time at the end."""
    tool_errors: int = 0
    """Calls of functions that gave the model an error."""

    @property
    def finished(self) -> int:
        """Rows with an outcome."""
        return self.ok + self.failed


@dataclass(frozen=True, slots=True)
class Summary:
    """The state of a run: what `run.json` holds and `--json` prints.

    `ok + failed + pending` are all rows of the input after `where`, `limit` and `sample`. `state` is
    `finished` when no row is pending. Times are seconds, `started_at` and `finished_at` ISO 8601.
    """

    name: str
    state: RunState
    exit_code: int
    rows: int
    ok: int
    failed: int
    pending: int
    stale: int
    errors: dict[str, int]
    usage: dict[str, int | None]
    cost_usd: float | None
    latency: dict[str, float | None]
    """Of the calls that answered: p50, p95, p99."""
    possibly_paid: int
    """Calls without an answer that the provider may bill."""
    saved_usd: float | None
    """What cached prompt tokens saved, by the models' prices."""
    budget: dict[str, Any]
    """The amounts of the job's budget, as far as it gives any."""
    spent: dict[str, Any]
    """What all submits took (`cost_usd`, `tokens`, `requests`), unanswered calls at their bounds; `cost_usd`
    is null where calls were made and no price is known."""
    cut: int
    """Rows that are ok although their answer reached its token limit."""
    stopped_by: Stop | None
    submit: dict[str, Any]
    """This submit alone: rows done, calls, seconds."""
    run_folder: str
    results: str
    version: str

    def document(self) -> dict[str, Any]:
        """The summary as plain values."""
        return asdict(self)
