"""The batches of a run that are with providers, as people and programs are told of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from batchrun.budget import Amounts
from batchrun.budget.amounts import Sums
from batchrun.run_folder.checkpoint.batches import BatchRecord, read_records, record_of
from batchrun.wording import counted

_TRIES = 10
OVER = frozenset({"completed", "failed", "expired", "cancelled"})
"""States that a batch does not leave."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that is with a provider, or may be.

    Attributes:
        name: what `submit --batch` calls it.
        batch_id: the provider's; None while it is not known whether it was created.
        model: as the job spells it, or as its rows name it.
        rows: its requests; `done` of them are answered or have failed, `failed` have failed.
        status: as the provider told last; None where it has told nothing.
        created_at: when it was created, or that was tried; ISO 8601.
        asked: whether the provider has told this just now.
        note: why not, where it was to be asked.
    """

    name: str
    batch_id: str | None
    endpoint: str
    model: str
    rows: int
    done: int
    failed: int
    status: str | None
    created_at: str
    asked: bool = False
    note: str | None = None

    @classmethod
    def of(cls, record: BatchRecord) -> Batch:
        """What is recorded of it."""
        return cls(
            name=record.stem,
            batch_id=record.batch_id or None,
            endpoint=record.endpoint,
            model=f"{record.endpoint}/{record.named}" if record.named else record.model,
            rows=record.lines,
            done=record.done,
            failed=record.failed,
            status=record.status or None,
            created_at=datetime.fromtimestamp(record.at, tz=UTC).isoformat(timespec="seconds"),
        )

    @property
    def is_over(self) -> bool:
        """Whether the provider works on it no more."""
        return self.status in OVER

    def told(self, status: str, done: int, failed: int) -> Batch:
        """The same as the provider has told just now."""
        return replace(self, status=status, done=done, failed=failed, asked=True, note=None)

    def age(self, now: float) -> float:
        """Seconds since it was created; `now` in seconds since the epoch."""
        return max(0.0, now - datetime.fromisoformat(self.created_at).timestamp())


def recorded(checkpoint: Path) -> list[BatchRecord]:
    """`read_records` where a submit may be at work. Raises RunFolderError."""
    for left in reversed(range(_TRIES)):
        try:
            return read_records(checkpoint)
        except FileNotFoundError:  # the submit has taken one up meanwhile
            if not left:
                raise
    raise AssertionError


def from_bytes(files: Iterable[bytes]) -> tuple[Batch, ...]:
    """The same by the bytes of their records. Raises ValueError, TypeError and LookupError for others'."""
    records = sorted(map(record_of, files), key=lambda one: (one.at, one.stem))
    return tuple(map(Batch.of, records))


def with_held(spent: Amounts, records: Iterable[BatchRecord]) -> Amounts:
    """`spent` and the most that these batches can take of a budget; what is not known counts as nothing."""
    sums = Sums.of(spent)
    for record in records:
        sums = sums.plus(Sums.of(record.bound))
    return sums.amounts()


def go_on(rows: Sequence[int]) -> str:
    """`2 batches go on with 12,000 rows`, of batches of so many rows."""
    verb = "goes" if len(rows) == 1 else "go"
    return f"{counted(len(rows), 'batch')} {verb} on with {counted(sum(rows), 'row')}"
