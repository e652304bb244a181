"""What the headers of an answer say of the server's rate limits. Pure.

A limit, what remains of it and when it is whole again, in any of these forms:

    x-ratelimit-{limit,remaining,reset}-{requests,tokens}      OpenAI, Groq, Azure, LiteLLM
    … followed by -{second,minute,hour,day,month}              Cerebras
    x-ratelimit-renewalperiod-{requests,tokens}                Azure: the window in seconds
    x-ratelimit-{limit,remaining,reset}                        OpenRouter, Together (requests)
    x-tokenlimit-{limit,remaining,reset}                       Together (tokens)
    x-ratelimitbysize-{limit,remaining}-{minute,month}         Mistral (tokens)
    anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}
    ratelimit-{limit,remaining,reset}; ratelimit and ratelimit-policy
    llm_provider-<any of these>                                LiteLLM, where it states none of its own

Sources: the providers' pages on rate limits; draft-ietf-httpapi-ratelimit-headers (single fields up to
version 06, lists of items since); Go's time.Duration; RFC 9110 and RFC 3339 for dates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal, TypeAlias, cast

from batchrun.http_date import http_date
from batchrun.value import value

Unit: TypeAlias = Literal["requests", "tokens", "input-tokens", "output-tokens"]
_Limit: TypeAlias = tuple[Unit, float | None]
"""What tells one limit from another: its unit, and its window where the headers name one."""
_Names: TypeAlias = dict[_Limit, dict[str, str]]
"""For each limit the names of the headers that state it, by their word (limit, remaining, reset, …)."""

_WINDOWS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0, "month": 2_592_000.0}
_DURATION = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = r"(\d+(?:\.\d*)?|\.\d+)(ms|us|µs|ns|[dhms])"
_GO = re.compile(rf"(?:{_PART})+", re.ASCII)
_PARTS = re.compile(_PART, re.ASCII)
_NUMBER = re.compile(r"(\d{1,18}(\.\d{0,9})?|\.\d{1,9})", re.ASCII)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_PARAMETER = re.compile(r";\s*([a-z]+)\s*=\s*\"?([^;\",]*)\"?")
_WINDOW = r"(?P<window>second|minute|hour|day|month)"
_FORMS = [
    re.compile(rf"x-ratelimit-(?P<word>limit|remaining|reset)-(?P<unit>requests|tokens)(-{_WINDOW})?"),
    re.compile(r"x-ratelimit-(?P<word>renewalperiod)-(?P<unit>requests|tokens)"),
    re.compile(r"x-ratelimit-(?P<word>limit|remaining|reset)"),
    re.compile(r"x-(?P<size>tokenlimit)-(?P<word>limit|remaining|reset)"),
    re.compile(rf"x-(?P<size>ratelimitbysize)-(?P<word>limit|remaining|reset)(-{_WINDOW})?"),
    re.compile(
        r"anthropic-ratelimit-(?P<unit>(?:input-|output-)?tokens|requests)-(?P<word>limit|remaining|reset)"
    ),
    re.compile(r"ratelimit-(?P<word>limit|remaining|reset)"),
]
_EPOCH = 1e8
"""A number of seconds above this (three years) is a moment, not a wait; above `_EPOCH_MS` in milliseconds."""
_EPOCH_MS = 1e11
_PREFIX = "llm_provider-"
_KNOWN: dict[tuple[str, ...], list[tuple[str, _Names]]] = {}
"""What the names of an answer's headers say, by prefix: servers send the same ones with every answer."""
_MOST_KNOWN = 64


@value(frozen=True, slots=True)
class Stated:
    """One limit as an answer states it; None where it says nothing."""

    unit: Unit
    limit: int | None
    remaining: int | None
    reset: float | None
    """Seconds until the limit is whole again, from the moment of the answer."""
    window: float | None
    """Seconds of the stretch in which the server counts, where the headers name it."""


RateAccount: TypeAlias = tuple[Stated, ...]
"""Every limit that an answer states, at least one."""


def read_rate_headers(headers: Mapping[str, str], now_wall: float) -> RateAccount | None:
    """What `headers` say of limits; None when they say nothing, or nothing that makes sense.

    Names in lower case; `now_wall`, the moment of the answer, in seconds since the epoch. A value that
    is no such number, duration or date (negative, not finite, a list) counts as absent.
    """
    for prefix, names in _known(tuple(headers)):
        if found := _read(headers, prefix, names, now_wall):
            return tuple(found)
    return None


def _known(headers: tuple[str, ...]) -> list[tuple[str, _Names]]:
    if headers not in _KNOWN:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        of_limits = [name for name in headers if "limit" in name]
        prefixes = ("", _PREFIX) if of_limits else ()
        _KNOWN[headers] = [(prefix, _names(of_limits, prefix)) for prefix in prefixes]
    return _KNOWN[headers]


def _names(headers: Iterable[str], prefix: str) -> _Names:
    names: _Names = {}
    for name in headers:
        if name.startswith(prefix) and (match := _match(name[len(prefix) :])):
            limit, word = match
            names.setdefault(limit, {})[word] = name
    return names


def _match(name: str) -> tuple[_Limit, str] | None:
    for form in _FORMS:
        if found := form.fullmatch(name):
            parts = found.groupdict()
            unit = parts.get("unit") or ("tokens" if parts.get("size") else "requests")
            window = _WINDOWS.get(parts.get("window") or "")
            return (cast("Unit", unit), window), parts["word"]
    return None


def _read(headers: Mapping[str, str], prefix: str, names: _Names, now_wall: float) -> list[Stated]:
    stated = list(_items(headers, prefix)) if not names else []
    for (unit, window), words in names.items():
        said = {word: headers[name] for word, name in words.items()}
        stated.append(_stated(unit, window, said, now_wall))
    return [one for one in stated if one.remaining is not None or one.limit is not None]


def _stated(unit: Unit, window: float | None, said: Mapping[str, str], now_wall: float) -> Stated:
    reset = said.get("reset", "").strip()
    limit, policy = _limit(said.get("limit", ""))
    window = window or _positive(said.get("renewalperiod", "")) or policy
    return Stated(unit, limit, _count(said.get("remaining", "")), _reset(reset, now_wall), window)


def _limit(value: str) -> tuple[int | None, float | None]:
    """A limit, and the window where it is written as `100, 100;w=60` (the draft's early versions)."""
    first, comma, policies = value.partition(",")
    if not comma:
        return _count(value) or None, None
    windows = [_positive(dict(_PARAMETER.findall(policy)).get("w", "")) for policy in policies.split(",")]
    if len(windows) != 1 or windows[0] is None:
        return None, None
    return _count(first) or None, windows[0]


def _items(headers: Mapping[str, str], prefix: str) -> Iterator[Stated]:
    """`RateLimit: "name";r=50;t=30` and `RateLimit-Policy: "name";q=100;w=60`, matched by name."""
    policies = _parameters(headers.get(f"{prefix}ratelimit-policy", ""))
    for name, said in _parameters(headers.get(f"{prefix}ratelimit", "")).items():
        policy = policies.get(name, {})
        unit: Unit = "tokens" if "token" in f"{name}{policy.get('qu', '')}" else "requests"
        if "bytes" in policy.get("qu", ""):
            continue
        limit, reset = _count(policy.get("q", "")) or None, said.get("t", "")
        window = _positive(policy.get("w", ""))
        yield Stated(unit, limit, _count(said.get("r", "")), _number(reset), window)


def _parameters(value: str) -> dict[str, dict[str, str]]:
    items = (item.strip() for item in value.split(",") if ";" in item)
    return {item.partition(";")[0].strip('" ').lower(): dict(_PARAMETER.findall(item)) for item in items}


def _count(value: str) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _positive(value: str) -> float | None:
    return _number(value) or None


def _number(value: str) -> float | None:
    """A number as servers write them: never negative, never above 1e18."""
    value = value.strip()
    return float(value) if _NUMBER.fullmatch(value) else None


def _reset(value: str, now_wall: float) -> float | None:
    """Seconds from a duration, a number of seconds, or a moment; one that has passed is 0."""
    number = _number(value)
    if number is not None:
        if number > _EPOCH:
            return max(0.0, (number / 1000 if number > _EPOCH_MS else number) - now_wall)
        return number
    if _GO.fullmatch(value):
        seconds = sum(float(amount) * _DURATION[unit] for amount, unit in _PARTS.findall(value))
        return seconds if math.isfinite(seconds) else None
    moment = _moment(value)
    return None if moment is None else max(0.0, moment - now_wall)


def _moment(value: str) -> float | None:
    try:
        if _RFC_3339.fullmatch(value):
            return datetime.fromisoformat(value.upper()).timestamp()
    except (ValueError, OverflowError):
        return None
    return http_date(value)
