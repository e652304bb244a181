"""The sentence that says which cap is reached, by how much, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from batchrun.wording import usd

Kind = Literal["cost_usd", "tokens", "requests"]
Per = Literal["run", "submit", "day"]

_OF: dict[Per, str] = {"run": "", "submit": " of this submit", "day": " for today (UTC)"}


@dataclass(frozen=True, slots=True)
class Full:
    """A cap that the next call would pass; money in USD.

    Attributes:
        taken: what is spent or held.
        held: the part of it that belongs to `unanswered` calls.
        wanted: the most that the next call can take; None where it has no upper bound.
    """

    kind: Kind
    per: Per
    cap: float
    taken: float
    held: float
    unanswered: int
    wanted: float | None

    def sentence(self) -> str:
        said = self._used()
        if self.held and self.kind != "requests":
            calls = "1 call" if self.unanswered == 1 else f"{self.unanswered:,} calls"
            said += f" ({self._write(self.held)} for {calls} without an answer)"
        return f"{said}{self._next()}; {self._way_on()}"

    def until_batches(self, kept: float) -> str:
        """Where the call would fit beside what is taken, and batches under way keep the rest."""
        said = f"{self._used()}, {self._write(kept)} are kept for batches with the provider"
        return f"{said}{self._next()}; when those are over, submit again to go on"

    @property
    def _write(self) -> Callable[[float], str]:
        return usd if self.kind == "cost_usd" else _count

    def _used(self) -> str:
        done = "made" if self.kind == "requests" else "spent or held"
        cap = f"{self._write(self.cap)}{_OF[self.per]}"
        return f"budget.{self.kind}: {self._write(self.taken)} of {cap} are {done}"

    def _next(self) -> str:
        if self.wanted is None or self.kind == "requests":
            return ""
        verb = "cost" if self.kind == "cost_usd" else "take"
        more = ", more than the whole budget" if self.wanted > self.cap else ""
        return f", the next call may {verb} up to {self._write(self.wanted)}{more}"

    def _way_on(self) -> str:
        raise_it = f"raise budget.{self.kind} to go on"
        if self.wanted is not None and self.wanted > self.cap:
            return raise_it
        return {
            "run": raise_it,
            "submit": "submit again to go on",
            "day": f"{raise_it}, or submit again tomorrow",
        }[self.per]


def _count(number: float) -> str:
    return f"{number:,.0f}"
