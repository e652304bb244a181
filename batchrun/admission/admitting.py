"""What answering rows needs of admission, whoever keeps the books."""

from __future__ import annotations

from typing import Any, Protocol

from batchrun.admission.permit import Permit
from batchrun.admission.states import Reason, Unavailable
from batchrun.budget import Amounts, Budget
from batchrun.limits import Size
from batchrun.outcome import Error


class Admitting(Protocol):
    """`Admission`, as far as calls and engines see it; what each method does is said there."""

    budget: Budget | None

    async def admit(
        self, endpoint: str, model: str, size: Size, bound: Amounts, *, leave_for: frozenset[str] = ...
    ) -> Permit | Unavailable: ...

    def at_once(
        self, endpoint: str, model: str, size: Size, bound: Amounts, *, leave_for: frozenset[str] = ...
    ) -> Permit | Unavailable | None: ...

    def correct_past_call(self, at: float, counted: Amounts, actual: Amounts) -> None: ...

    async def until_resumed(self) -> None: ...

    def is_available(self, endpoint: str, model: str) -> bool: ...

    def circuit_is_open(self, endpoint: str) -> bool: ...

    def pause(self, endpoint: str, until: float, reason: Reason = ...) -> None: ...

    def close(
        self, endpoint: str, reason: Error, *, model: str | None = None, seconds: float | None = None
    ) -> None: ...

    def slots(self) -> int: ...

    def reasons(self) -> list[Unavailable]: ...

    def snapshot(self) -> dict[str, Any]: ...
