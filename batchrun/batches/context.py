"""What everything around the batches of one run works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from batchrun.answer.in_flight import InFlightCalls
from batchrun.batches.api import ApiError, BatchApi
from batchrun.budget import Budget, Reservation
from batchrun.clock import PausableClock
from batchrun.engines.control import Control
from batchrun.engines.run_context import UnderWay
from batchrun.job import Job
from batchrun.run_folder.checkpoint.batches import BatchRecord, keep_record
from batchrun.run_folder.journal.journal import Recorder
from batchrun.summary import Counters, Stop


@dataclass(slots=True)
class BatchContext:
    """The books of a run, and the batches that are with providers.

    `apis` by endpoint; `ship` brings what is on disk to object storage, where the run is kept there; `say`
    and `log` take what happens.
    """

    job: Job
    run_id: str
    checkpoint: Path
    apis: Mapping[str, BatchApi]
    budget: Budget | None
    journal: Recorder
    control: Control
    in_flight_calls: InFlightCalls
    counters: Counters
    clock: PausableClock
    say: Callable[[str], None]
    log: Callable[..., None]
    ship: Callable[[], object]
    outstanding: list[BatchRecord] = field(default_factory=list)
    """Batches that are known to be with a provider, oldest first."""
    reserved: dict[str, Reservation] = field(default_factory=dict)
    """What is kept free for them, by their stems."""

    def under_way(self) -> list[UnderWay]:
        """What is waited for."""
        return [
            UnderWay(record.batch_id, record.status, record.lines, record.done, record.at)
            for record in self.outstanding
        ]

    def keep(self, record: BatchRecord) -> BatchRecord:
        """Write down what is known of a batch now."""
        keep_record(self.checkpoint, record)
        self.outstanding = [record if one.stem == record.stem else one for one in self.outstanding]
        return record

    def forget(self, record: BatchRecord) -> None:
        """It is no longer with the provider."""
        self.outstanding = [one for one in self.outstanding if one.stem != record.stem]

    def reserve(self, record: BatchRecord, reservation: Reservation | None = None) -> None:
        """Keep free what a batch can take."""
        if reservation is not None:
            self.reserved[record.stem] = reservation
        elif self.budget:
            self.reserved[record.stem] = self.budget.commit(record.bound, in_batch=True)

    def end(self, endpoint: str, error: ApiError, doing: str) -> None:
        """Stop the run because an endpoint refuses, or cannot be asked."""
        text = f"{endpoint}: {doing}: {error.error.message}"
        refused = error.error.type in ("auth", "model_not_found")
        self.control.stop(Stop("refused" if refused else "no_model", text))
