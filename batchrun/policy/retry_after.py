"""When the server says to come back: headers, and what error messages say in words. Pure.

Sources: RFC 9110 section 10.2.3 (Retry-After); openai-python (`retry-after-ms`, `x-should-retry`);
LiteLLM (`llm_provider-…`, the headers of the provider behind it).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from batchrun.http_date import http_date
from batchrun.outcome import Error

_NUMBER = re.compile(r"(\d+(\.\d*)?|\.\d+)(e\+?\d+)?", re.IGNORECASE | re.ASCII)
_UNITS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_AMOUNT = r"(\d+(?:\.\d+)?)\s?(ms|milli|[smhd])(?:econds?|ecs?|inutes?|ins?|ours?|rs?|ays?)?(?![a-z])"
_ONE = re.compile(_AMOUNT, re.IGNORECASE | re.ASCII)
_SPOKEN = re.compile(
    rf"\b(?:again|retry) (?:in|after) ((?:{_AMOUNT}(?:\s|,|and)*)+)", re.IGNORECASE | re.ASCII
)


def retry_after(headers: Mapping[str, str], now_wall: float, error: Error | None = None) -> float | None:
    """Seconds until the server wants to be asked again; None when it does not say, or says nonsense.

    In this order: `retry-after-ms`, `retry-after` (seconds or an HTTP date), the same two as LiteLLM
    passes them on, "try again in 6m0s" in the message of an `error` of pace: another may quote a prompt
    that has such words, and a row must not be able to close an endpoint. Header names in lower case;
    `now_wall` in seconds since the epoch. Never negative and always finite, but not capped: 1e9 stays 1e9.
    """
    for prefix in ("", "llm_provider-"):
        milliseconds = _number(headers.get(f"{prefix}retry-after-ms", ""))
        if milliseconds is not None:
            return milliseconds / 1000
        value = headers.get(f"{prefix}retry-after", "")
        seconds = _number(value)
        if seconds is None:
            seconds = _until(value, now_wall)
        if seconds is not None:
            return seconds
    return spoken_delay(error.message) if error and error.type == "rate_limit" else None


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """What `x-should-retry` says: the server's own word on whether the same request may succeed."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def spoken_delay(message: str) -> float | None:
    """The seconds in "try again in 18.65s" or "retry after 1 minute and 5 seconds"; None without."""
    found = _SPOKEN.search(message)
    if found is None:
        return None
    seconds = sum(float(number) * _UNITS[unit.lower()] for number, unit in _ONE.findall(found[1]))
    return seconds if math.isfinite(seconds) else None


def _number(value: str) -> float | None:
    value = value.strip()
    if not _NUMBER.fullmatch(value):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _until(value: str, now_wall: float) -> float | None:
    moment = http_date(value)
    return moment - now_wall if moment is not None and moment >= now_wall else None
