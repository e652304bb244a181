"""The calls under way, which may land when everything else of a run has stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio


@dataclass(slots=True, eq=False)
class InFlightCall:
    """A call under way.

    `copy` sends the same once more, and is called at most once; the copy gives up this call by `scope` when
    it has an answer first.
    """

    model_index: int
    started: float
    """Monotonic seconds."""
    copy: Callable[[InFlightCall], Coroutine[Any, Any, None]] | None = None
    scope: anyio.CancelScope | None = None
    """Of the call, once it is under way."""
    ended: bool = False
    """Whether the call is over: a copy must not be sent any more."""
    copy_ended: anyio.Event | None = None
    """Of what sends the copy; None where none is sent."""
    copy_scope: anyio.CancelScope | None = None
    """The same."""
    rival: InFlightCall | None = None
    """The copy's own call, once it is under way."""

    def give_up(self) -> None:
        """Wait for its answer no longer."""
        if self.scope is not None:
            self.scope.cancel()


class InFlightCalls:
    """The calls under way: when a run stops they may land until a deadline."""

    def __init__(self) -> None:
        self._under_way: set[InFlightCall] = set()
        self._deadline = math.inf

    def drain_until(self, deadline: float) -> None:
        """Give every call until `deadline`, in the event loop's time."""
        self._deadline = min(deadline, self._deadline)
        for flight in self._under_way:
            assert flight.scope is not None, "it is under way"
            flight.scope.deadline = self._deadline

    @property
    def is_draining(self) -> bool:
        """Whether the run is stopping, and only waits for the calls under way."""
        return self._deadline < math.inf

    @property
    def deadline(self) -> float:
        """Until when calls under way may land, in the event loop's time; infinite while the run goes."""
        return self._deadline

    def __len__(self) -> int:
        return len(self._under_way)

    def __iter__(self) -> Iterator[InFlightCall]:
        return iter(tuple(self._under_way))

    @contextmanager
    def under_way(self, flight: InFlightCall) -> Iterator[None]:
        """Make a call in the block, which is not cancelled with the rest of the run.

        A call that is given up, or has not landed by the deadline, leaves the block quietly.
        """
        flight.scope = anyio.CancelScope(shield=True, deadline=self._deadline)
        self._under_way.add(flight)
        try:
            with flight.scope:
                yield
        finally:
            self._under_way.discard(flight)
