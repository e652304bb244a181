"""The calls under way, which may land when everything else of a run has stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Flights:
    """The calls under way: when a run stops they may land until a deadline."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._deadline = float("inf")

    def land_by(self, deadline: float) -> None:
        """Give every call until `deadline`, in the event loop's time."""
        self._deadline = min(deadline, self._deadline)
        for scope in self._scopes:
            scope.deadline = self._deadline

    @property
    def landing(self) -> bool:
        """Whether the run is stopping, and only waits for the calls under way."""
        return self._deadline < float("inf")

    def __len__(self) -> int:
        return len(self._scopes)

    @contextmanager
    def flying(self) -> Iterator[None]:
        """Keep a call from being cancelled with the rest of the run."""
        with anyio.CancelScope(shield=True, deadline=self._deadline) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
