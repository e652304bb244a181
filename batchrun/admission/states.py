"""Why a call does not go: what is closed, and what is waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from batchrun.outcome import Error

Reason: TypeAlias = Literal["limits", "rate limit", "retry-after", "unreachable"]
"""What a call waits for: the limits, a 429's pause, another pause that the server named, an endpoint that
fails again and again."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why an endpoint (`model` None), or one model there, takes no call."""

    endpoint: str
    model: str | None
    reason: Error
    until: float | None
    """When it opens again, in seconds since the epoch; None: not in this run."""
    is_rows_own: bool = False
    """Whether another row may find a model open: this one is past some that it may not ask, or need not."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What the first in line at an endpoint (`model` None) or a model waits for, and for how long still."""

    endpoint: str
    model: str | None
    reason: Reason
    seconds: float
