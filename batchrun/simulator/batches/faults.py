"""Which fault strikes a request about files and batches, and how its answer leaves then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from batchrun.simulator import answers
from batchrun.simulator.answers import HttpAnswer
from batchrun.simulator.batches.rules import BatchFault, Operation
from batchrun.simulator.delivery import Step, Wait, steps
from batchrun.simulator.rules import CloseFault, StatusFault


class BatchFaults:
    """Counts the requests of each kind."""

    def __init__(self, faults: Sequence[BatchFault]) -> None:
        self._faults = faults
        self._seen: Counter[str] = Counter()

    def strike(self, operation: Operation | None) -> BatchFault | None:
        """The first fault that applies to one more such request; None: it is of no kind that has any."""
        if operation is None:
            return None
        self._seen[operation] += 1
        nth = self._seen[operation]
        return next((f for f in self._faults if f.on == operation and f.nth in (None, nth)), None)


def refusal(fault: BatchFault) -> HttpAnswer:
    """The answer of a fault that refuses."""
    return answers.injected(StatusFault(status=fault.status or 500, retry_after=fault.retry_after))


def departure(head: bytes, body: bytes, fault: BatchFault | None) -> Iterator[Step]:
    """The steps that send an answer under `fault`."""
    if fault and fault.stall:
        yield Wait(fault.stall)
    match fault:
        case BatchFault(act="lose"):
            yield from steps(head, body, CloseFault(close="before_headers"))
        case BatchFault(act="cut"):
            yield from steps(head, body, CloseFault(close="mid_body"))
        case _:
            yield from steps(head, body, None)
