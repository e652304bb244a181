"""Dates as HTTP spells them (RFC 9110, 5.6.7)."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime


def http_date(text: str) -> float | None:
    """The moment in seconds since the epoch; None for what is no date. One without a zone is in UTC."""
    try:
        moment = parsedate_to_datetime(text.strip())
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):  # the second of a zone beyond all numbers
        return None
