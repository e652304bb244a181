"""What an endpoint, or one model there, may be asked for, as a job gives it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

_MINUTE = 60.0
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

    def in_window(self, name: Literal["rpm", "tpm"]) -> tuple[float, int] | None:
        """What `rpm` or `tpm` comes to: seconds, and the whole number that goes within them; None without it.

        A window of less than one is one in a longer window.
        """
        per_minute: int | None = getattr(self, name)
        if per_minute is None:
            return None
        seconds = max(self.window, _MINUTE / per_minute)
        return seconds, max(1, int(per_minute * seconds / _MINUTE + 1e-9))

    def at(self, endpoint: Limits) -> Limits:
        """A model's limits; where it has none of its own, its answers tell of those of its endpoint: over the
        stretch, and counted, as the job says there."""
        if self.rpm is not None or self.tpm is not None:
            return self
        return replace(self, window=endpoint.window, count=self.count or endpoint.count)

    @property
    def most_in_flight(self) -> int | None:
        """The most calls that may be under way at once; None without a limit."""
        return self.max_concurrency if self.concurrency == "auto" else self.concurrency
