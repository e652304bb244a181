"""What there is one of in a run, whoever makes its calls, and an engine made over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from batchrun.admission import Admission
from batchrun.answer.in_flight import InFlightCalls
from batchrun.answer.tail import Latencies
from batchrun.clock import PausableClock
from batchrun.engines.control import Beside, Control
from batchrun.run_folder.journal.journal import Journal


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all parts of one run share."""

    clock: PausableClock
    admission: Admission
    journal: Journal
    in_flight_calls: InFlightCalls
    control: Control


class UnderWay(NamedTuple):
    """A batch that is waited for, as its provider told last; `since` when it was created (seconds since the
    epoch)."""

    batch_id: str
    status: str
    rows: int
    done: int
    since: float


@dataclass(frozen=True, slots=True)
class ReadyEngine:
    """An engine that is ready: `work` takes the rows to their outcomes (see `Control.run`), `beside` runs
    alongside.

    `latencies` learns how long the first model takes, `batches` are those that are waited for, where rows go
    by batches.
    """

    work: Beside
    latencies: Latencies
    beside: tuple[Beside, ...] = ()
    batches: Callable[[], Sequence[UnderWay]] | None = None
