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

    `finish` tells gates and budget what came of it, once.
    """

    __slots__ = ("_finish", "_finished", "_slots")

    def __init__(self, slots: Iterable[Slot], finish: Callable[[CallFeedback, Amounts | None], None]) -> None:
        self._slots = slots
        self._finish = finish
        self._finished = False

    def finished(self, feedback: CallFeedback, paid: Amounts | None) -> None:
        """What came of the call; `paid` None: it may have been paid, so that its reservation is kept.

        A block that ends without it counts as a call of which nothing is known.
        """
        self._finished = True
        self._finish(feedback, paid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._finished:
            self.finished(CallFeedback("nothing"), None)
        for slot in self._slots:
            slot.release()
