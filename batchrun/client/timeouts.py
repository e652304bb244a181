"""How long a call may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long one call may take, in seconds."""

    connect: float
    """Until a connection stands: name lookup, TCP, proxy and TLS."""
    idle: float
    """Without a byte of the answer, from the start of the call and from each byte on."""
    total: float
    """From the start of the call to the last byte of the answer."""
