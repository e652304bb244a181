"""Unavailable endpoints and models in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchrun.admission import Unavailable


def describe(closed: Unavailable, keys: Mapping[str, str] = MappingProxyType({})) -> str:
    """A closing in words: what is closed, why, and until when; of a refused key, by `keys`, whose it was."""
    name = closed.endpoint if closed.model is None else f"{closed.endpoint}/{closed.model}"
    key = keys.get(closed.endpoint) if closed.reason.type == "auth" else None
    about = f" ({key})" if key else ""
    return f"{name}: {closed.reason.type}: {closed.reason.message}{about}{_until(closed.until)}"


def _until(seconds: float | None) -> str:
    if seconds is None:
        return ""
    try:
        return f" (until {datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M:%S} UTC)"
    except (ValueError, OverflowError, OSError):
        return " (for longer than dates can say)"
