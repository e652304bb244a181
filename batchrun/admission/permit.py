"""A call that may be sent now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from batchrun.admission.gate import Gate, Landing
from batchrun.budget import Amounts


class Permit:
    """A call that may be sent now: the `with` block is the call, and gives its slots back at the end.

    `land` tells gates and budget what came of it, once.
    """

    __slots__ = ("_gates", "_land", "_landed")

    def __init__(self, gates: tuple[Gate, Gate], land: Callable[[Landing, Amounts | None], None]) -> None:
        self._gates = gates
        self._land = land
        self._landed = False

    def landed(self, landing: Landing, paid: Amounts | None) -> None:
        """What came of the call; `paid` None: it may have been paid, so that its reservation is kept.

        A block that ends without it counts as a call of which nothing is known.
        """
        self._landed = True
        self._land(landing, paid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._landed:
            self.landed(Landing("nothing"), None)
        for gate in self._gates:
            gate.release()
