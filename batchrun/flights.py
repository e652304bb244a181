"""The calls under way, which may land when everything else of a run has stopped."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio


@dataclass(slots=True, eq=False)
class Flight:
    """A call under way.

    `copy` sends the same once more, and is called at most once; the copy gives up this call by `scope` when
    it has an answer first.
    """

    model: int
    started: float
    """Monotonic seconds."""
    copy: Callable[[Flight], Coroutine[Any, Any, None]] | None = None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    copied: bool = False
    ended: bool = False
    """Whether the call is over: a copy must not be sent any more."""
    copy_scope: anyio.CancelScope | None = None
    """Of what sends the copy."""
    rival: Flight | None = None
    """The copy's own call, once it is under way."""
    copy_ended: anyio.Event = field(default_factory=anyio.Event)


class Flights:
    """The calls under way: when a run stops they may land until a deadline."""

    def __init__(self) -> None:
        self._under_way: set[Flight] = set()
        self._deadline = float("inf")

    def land_by(self, deadline: float) -> None:
        """Give every call until `deadline`, in the event loop's time."""
        self._deadline = min(deadline, self._deadline)
        for flight in self._under_way:
            flight.scope.deadline = self._deadline

    @property
    def landing(self) -> bool:
        """Whether the run is stopping, and only waits for the calls under way."""
        return self._deadline < float("inf")

    def __len__(self) -> int:
        return len(self._under_way)

    def __iter__(self) -> Iterator[Flight]:
        return iter(tuple(self._under_way))

    @contextmanager
    def flying(self, flight: Flight) -> Iterator[None]:
        """Keep a call from being cancelled with the rest of the run."""
        flight.scope = anyio.CancelScope(shield=True, deadline=self._deadline)
        with flight.scope:
            self._under_way.add(flight)
            try:
                yield
            finally:
                self._under_way.discard(flight)
