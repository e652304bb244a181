"""A call that may be sent now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, Self

from batchrun.admission.gate import CallFeedback
from batchrun.budget import Amounts


class Slot(Protocol):
    """A place that a call takes."""

    def release(self) -> None:
        """The call is over."""
        ...


class Permit:
    """A call that may be sent now: the `with` block is the call, and gives its slots back at the end.

    `land` tells gates and budget what came of it, once.
    """

    __slots__ = ("_land", "_landed", "_slots")

    def __init__(self, slots: Iterable[Slot], land: Callable[[CallFeedback, Amounts | None], None]) -> None:
        self._slots = slots
        self._land = land
        self._landed = False

    def finished(self, feedback: CallFeedback, paid: Amounts | None) -> None:
        """What came of the call; `paid` None: it may have been paid, so that its reservation is kept.

        A block that ends without it counts as a call of which nothing is known.
        """
        self._landed = True
        self._land(feedback, paid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._landed:
            self.finished(CallFeedback("nothing"), None)
        for slot in self._slots:
            slot.release()
