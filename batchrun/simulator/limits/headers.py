"""The headers that tell of rate limits, in the forms that providers give them. Pure.

Sources: OpenAI's guide on rate limits (resets are Go durations), Anthropic's (RFC 3339), Cerebras' (windows
in the names, seconds), Groq's (requests are told of the day, tokens of the minute), headers seen on Azure
(whole seconds, and the window as `renewalperiod`), OpenRouter (requests; milliseconds since the epoch),
draft-ietf-httpapi-ratelimit-headers-10, LiteLLM (the provider's own under `llm_provider-`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from batchrun.simulator.limits.rules import DAY, NAMED_WINDOWS, HeaderForm

PASSED_ON = "llm_provider-"
"""What LiteLLM puts before the names of the headers that it passes on."""


class Account(NamedTuple):
    """What one limit tells of itself."""

    what: Literal["requests", "tokens"]
    limit: int
    remaining: int
    reset: float
    """Seconds until the whole limit is free again."""
    window: float
    """Seconds."""


def limit_headers(form: HeaderForm, accounts: Sequence[Account], wall: float) -> dict[str, str]:
    """The headers for `accounts`, the shorter of two windows first; `wall` in seconds since the epoch."""
    return _FORMS[form](accounts, wall)


def go_duration(seconds: float) -> str:
    """Write a duration as Go's time.Duration does, to the millisecond: `17ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    milliseconds = math.ceil(seconds * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text


def _decimal(seconds: float) -> str:
    return f"{math.ceil(seconds * 1000 - 1e-6) / 1000:.15g}"


def _whole(seconds: float) -> str:
    return str(math.ceil(seconds - 1e-6))


def _timestamp(moment: float) -> str:
    """RFC 3339, to the second, never too early."""
    return datetime.fromtimestamp(math.ceil(moment - 1e-6), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _one_each(accounts: Sequence[Account]) -> list[Account]:
    """One for requests, one for tokens: the names have no room for more."""
    return list({account.what: account for account in reversed(accounts)}.values())[::-1]


def _plain(accounts: Sequence[Account], reset: Callable[[float], str]) -> dict[str, str]:
    """`x-ratelimit-…-requests` and `-tokens`."""
    found = {}
    for what, limit, remaining, seconds, _ in accounts:
        found[f"x-ratelimit-limit-{what}"] = str(limit)
        found[f"x-ratelimit-remaining-{what}"] = str(remaining)
        found[f"x-ratelimit-reset-{what}"] = reset(seconds)
    return found


def _openai(accounts: Sequence[Account], wall: float) -> dict[str, str]:
    return _plain(_one_each(accounts), go_duration)


def _seconds(accounts: Sequence[Account], wall: float) -> dict[str, str]:
    return _plain(_one_each(accounts), _decimal)


def _groq(accounts: Sequence[Account], wall: float) -> dict[str, str]:
    """Requests are those of the day; how many a minute takes is not told."""
    return _plain([a for a in accounts if a.what == "tokens" or a.window == DAY], go_duration)


def _azure(accounts: Sequence[Account], wall: float) -> dict[str, str]:
    shown = _one_each(accounts)
    periods = {f"x-ratelimit-renewalperiod-{a.what}": _whole(a.window) for a in shown}
    return {**_plain(shown, _whole), **periods}


def _cerebras(accounts: Sequence[Account], wall: float) -> dict[str, str]:
    found = {}
    for what, limit, remaining, seconds, window in accounts:
        name = f"{what}-{NAMED_WINDOWS[int(window)]}"
        found[f"x-ratelimit-limit-{name}"] = str(limit)
        found[f"x-ratelimit-remaining-{name}"] = str(remaining)
        found[f"x-ratelimit-reset-{name}"] = _decimal(seconds)
    return found


def _anthropic(accounts: Sequence[Account], wall: float) -> dict[str, str]:
    found = {}
    for what, limit, remaining, seconds, _ in _one_each(accounts):
        found[f"anthropic-ratelimit-{what}-limit"] = str(limit)
        found[f"anthropic-ratelimit-{what}-remaining"] = str(remaining)
        found[f"anthropic-ratelimit-{what}-reset"] = _timestamp(wall + seconds)
    return found


def _openrouter(accounts: Sequence[Account], wall: float) -> dict[str, str]:
    found = {}
    for _, limit, remaining, seconds, _ in [a for a in accounts if a.what == "requests"][:1]:
        found["X-RateLimit-Limit"] = str(limit)
        found["X-RateLimit-Remaining"] = str(remaining)
        found["X-RateLimit-Reset"] = str(math.ceil((wall + seconds) * 1000))
    return found


def _ietf(accounts: Sequence[Account], wall: float) -> dict[str, str]:
    """Structured fields; a window that is no whole number of seconds cannot be told, and is left out."""
    named = [(f'"{a.what}-{a.window:g}s"', a) for a in accounts]
    policy = [
        f"{name};q={a.limit}" + (f";w={a.window:.0f}" if a.window == int(a.window) else "")
        for name, a in named
    ]
    return {
        "RateLimit-Policy": ", ".join(policy),
        "RateLimit": ", ".join(f"{name};r={a.remaining};t={_whole(a.reset)}" for name, a in named),
    }


def _litellm(accounts: Sequence[Account], wall: float) -> dict[str, str]:
    return {f"{PASSED_ON}{name}": value for name, value in _openai(accounts, wall).items()}


def _none(accounts: Sequence[Account], wall: float) -> dict[str, str]:
    return {}


_FORMS: Mapping[HeaderForm, Callable[[Sequence[Account], float], dict[str, str]]] = {
    "openai": _openai,
    "seconds": _seconds,
    "anthropic": _anthropic,
    "cerebras": _cerebras,
    "azure": _azure,
    "groq": _groq,
    "openrouter": _openrouter,
    "ietf": _ietf,
    "litellm": _litellm,
    "none": _none,
}
