"""What an endpoint, or one model there, may be asked for, as a job gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MOST_CONCURRENCY = 512
"""Calls under way at once that `auto` does not pass unless told to."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an endpoint, or one model there, allows; None is no limit known."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | Literal["auto"] | None = None
    """Calls under way at once; "auto": found out while the run goes."""
    max_concurrency: int = MOST_CONCURRENCY
    """What "auto" never passes."""
    window: float = 60.0
    """Seconds of the stretch in which the server counts; `rpm` and `tpm` are per minute all the same."""
    count: Literal["asked", "used"] | None = None
    """What the server counts of a call's tokens: prompt and what the answer may take, or what was used.
    None: learned."""

    @property
    def most_in_flight(self) -> int | None:
        """The most calls that may be under way at once; None without a limit."""
        return self.max_concurrency if self.concurrency == "auto" else self.concurrency
