"""How a running submit shows itself: the interface that displays implement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from batchrun.admission import Admission
    from batchrun.answer.in_flight import InFlightCalls
    from batchrun.answer.tail import Latencies
    from batchrun.clock import PausableClock
    from batchrun.engines.run_context import UnderWay
    from batchrun.summary import Counters


@dataclass(frozen=True, slots=True)
class View:
    """What a display may look at while an engine runs."""

    counters: Counters
    in_flight_calls: InFlightCalls
    admission: Admission
    clock: PausableClock
    first: tuple[str, str]
    """Endpoint and model that rows are asked of first."""
    latencies: Latencies
    """How long that model took."""
    batches: Callable[[], Sequence[UnderWay]] | None = None
    """What is waited for, where rows go by a provider's batches."""


class Progress(Protocol):
    """Shows people how a submit is getting on."""

    def phase(self, text: str) -> None:
        """What is being done now."""
        ...

    def read(self, rows: int) -> None:
        """Rows of the input that the index pass has read."""
        ...

    def say(self, text: str) -> None:
        """Something that the user should know."""
        ...

    async def watch(self, view: View) -> None:
        """Show a running engine until cancelled."""
        ...
