"""What a submit did, while it runs and when it has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from batchrun.outcome import Usage

StopKind = Literal[
    "no_model",
    "workers",
    "waiting",
    "batches",
    "refused",
    "breaker",
    "canary",
    "budget",
    "wall_time",
    "storage",
    "SIGINT",
    "SIGTERM",
]

RunState = Literal["running", "finished", "waiting", "stopped", "interrupted"]

EXIT_CODES: dict[StopKind, int] = {
    "no_model": 3,
    "workers": 3,
    "waiting": 0,
    "batches": 3,
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
class FromBatches:
    """Rows that had their outcome by a provider's batch, and what its calls took."""

    rows: int = 0
    calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0


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
    recovered: int = 0
    """Calls whose answer did not arrive, and was found among the completions that the provider stored."""
    from_batches: FromBatches = field(default_factory=FromBatches)
    """What of all this came by batches."""

    @property
    def tokens(self) -> int:
        """Of prompts and answers together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def finished(self) -> int:
        """Rows with an outcome."""
        return self.ok + self.failed

    def paid(self, usage: Usage | None, cost_usd: float | None) -> None:
        """Count what a call took, as far as it is known."""
        if usage is not None:
            self.prompt_tokens += usage.prompt_tokens or 0
            self.completion_tokens += usage.completion_tokens or 0
        if cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + cost_usd

    def came_by_batch(self, calls: int, usage: Usage | None, cost_usd: float | None) -> None:
        """Count calls that a batch made, and what they took."""
        before = self.tokens
        self.calls += calls
        self.paid(usage, cost_usd)
        self.from_batches.calls += calls
        self.from_batches.tokens += self.tokens - before
        self.from_batches.cost_usd += cost_usd or 0.0


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What came of one of the job's checks, over the finished rows that the results show.

    Attributes:
        name: which rows it counts, as the job spells it.
        wanted: how many there should be, `>= 99%` or `<= 3`.
        found: how many there are; None where that cannot be told.
        rows: all finished rows.
        share: `found` of `rows`, 0 to 1; None without rows.
        where: the SQL condition of the rows that speak against it, for `show --where`; None where there are
            none, or it holds.
        error: why its rows cannot be told; it does not hold then.
    """

    name: str
    wanted: str
    found: int | None
    rows: int
    share: float | None
    holds: bool
    where: str | None
    error: str | None

    @property
    def is_default(self) -> bool:
        """Whether it is what every job is held to that gives no checks: no row has failed."""
        return (self.name, self.wanted) == ("failed", "<= 0")

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """What `run.json` says of a check."""
        known: dict[str, Any] = {name: document.get(name) for name in cls.__dataclass_fields__}
        return cls(**known)


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
    changed: int
    """Pending rows with an answer to an older request: the results show it as stale until they are asked."""
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
    checks: tuple[CheckOutcome, ...]
    """Of the finished rows so far: they decide on the exit code once no row is pending. Empty where the user
    would not wait for the results to be published."""
    submit: dict[str, Any]
    """This submit alone: rows done, calls, seconds."""
    ways: dict[str, dict[str, Any]]
    """Where rows came by a provider's batches: how many by `batch` and in `realtime`, and at what cost."""
    batches: tuple[dict[str, Any], ...]
    """What is still with a provider (see `run_folder.checkpoint.with_providers.Batch`)."""
    run_folder: str
    results: str
    version: str

    def document(self) -> dict[str, Any]:
        """The summary as plain values."""
        return asdict(self)
