"""How fast a job's rows go, by its limits and by what the last submit reached."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

from batchrun.concurrency import START
from batchrun.forecast.estimate import Pace, Range, exactly
from batchrun.job import Job, ModelChoice

_AUTO = (8, 64)
"""Calls under way at once that some servers do not exceed, and those that most take at least."""
_SHARE = 0.5
"""The part of a fixed number of calls that a server may serve at once, before it has shown more."""
_OWN_SECONDS = (1.0, 5.0)
"""What the program itself takes to begin and to publish: likely, and on a busy machine."""
_OWN_SECONDS_A_ROW = (0.000_1, 0.001)
_SLOWEST = 3.0
"""How many times an average row's seconds the slowest of the last ones takes."""
_MINUTE = 60.0
_COUNTED: tuple[tuple[Literal["rpm", "tpm"], str], ...] = (("rpm", "requests"), ("tpm", "tokens"))
_TOLD = 100
"""Rows of a submit from which on its speed says more than a beginning does."""


def pace_of(job: Job, last: dict[str, Any], seconds: Range, *, rows: int, calls: float, canary: bool) -> Pace:
    """The limits of the first model. `last` is the last submit as `run.json` has it; `seconds` those
    that one row is under way, with `calls` of its own; `rows` those of the input; `canary`: some go first."""
    model = job.models[0]
    at_once = _at_once(job, model)
    reached = False
    done, took = last.get("rows") or 0, last.get("seconds") or 0
    if done >= _TOLD and took:
        there = max(1.0, done / took * seconds.likely)  # Little's law
        most = at_once.high or there
        at_once = Range(min(there * 0.7, most), min(there, most), min(there * 1.5, most))
        reached = True
    first = _first_rows(job, seconds, at_once) if canary else exactly(0.0)
    # `auto` doubles once a round
    rounds = math.log2(max(1.0, at_once.likely / START)) if is_auto(job, model) else 0.0
    aside = _aside(seconds, seconds.times(1 / max(1.0, calls)), rounds, rows).plus(first)
    return Pace(_kept(job, model, "rpm"), _kept(job, model, "tpm"), at_once, reached, aside)


def _aside(row: Range, call: Range, rounds: float, rows: int) -> Range:
    """What is not spent at full pace: reading, the first call alone, `rounds` of growing, the last rows,
    publishing."""
    likely, high = (each + rows * more for each, more in zip(_OWN_SECONDS, _OWN_SECONDS_A_ROW, strict=True))
    likely += call.likely * (1 + rounds)
    if row.high is None or call.high is None:
        return Range(0.0, likely, None)
    return Range(0.0, likely, high + call.high * (1 + rounds) + _slowest(row, row.high))


def _first_rows(job: Job, row: Range, at_once: Range) -> Range:
    """How long all others wait for the canary's rows."""
    rows = job.canary or 0
    high = None if row.high is None else max(_slowest(row, row.high), row.high * rows / max(1.0, at_once.low))
    return Range(0.0, row.likely * max(1.0, rows / at_once.likely), high)


def _slowest(row: Range, high: float) -> float:
    """Seconds of the slowest of some rows."""
    return max(high, row.likely * _SLOWEST)


def _kept(job: Job, model: ModelChoice, name: Literal["rpm", "tpm"]) -> float | None:
    """What goes in a minute by a limit: no more than whole numbers of its windows."""
    windows = (model.limits.in_window(name), job.endpoints[model.endpoint].limits.in_window(name))
    return min((amount / seconds * _MINUTE for seconds, amount in filter(None, windows)), default=None)


def windowed(job: Job) -> Iterator[str]:
    """A sentence for each limit of the first model of which its windows let less go."""
    model = job.models[0]
    for limits in (model.limits, job.endpoints[model.endpoint].limits):
        for name, what in _COUNTED:
            per_minute, window = getattr(limits, name), limits.in_window(name)
            if window is not None and (kept := window[1] / window[0] * _MINUTE) < 0.99 * per_minute:
                yield (
                    f"limits.{name} {per_minute:,} with a window of {limits.window:g} s lets {window[1]:,} "
                    f"{what} go in each, so {kept:,.0f} a minute"
                )


def tighter(job: Job, model: ModelChoice, name: str) -> int | None:
    """The smaller one of a model's and its endpoint's limits."""
    limits = (getattr(model.limits, name), getattr(job.endpoints[model.endpoint].limits, name))
    return min((limit for limit in limits if limit is not None), default=None)


def is_auto(job: Job, model: ModelChoice) -> bool:
    """Whether it is found out while the run goes how many calls a model takes at once."""
    return not isinstance(model.limits.concurrency, int) and not isinstance(
        job.endpoints[model.endpoint].limits.concurrency, int
    )


def tokens_counted(job: Job, prompts: Range, outputs: Range, calls: Range, limit: float | None) -> Range:
    """The tokens that the server sees of these calls, each of at most `limit` tokens of answer.

    Unless the job says that it counts what was used, it may count what was asked for.
    """
    used = prompts.plus(outputs)
    model = job.models[0]
    count = model.limits.count or job.endpoints[model.endpoint].limits.count
    if count == "used" or limit is None:
        return used
    asked = prompts.plus(calls.times(limit))
    if count == "asked":
        return asked
    high = None if used.high is None or asked.high is None else max(used.high, asked.high)
    return Range(used.low, used.likely, high)


def _at_once(job: Job, model: ModelChoice) -> Range:
    most = tighter(job, model, "most_in_flight") or 1
    if not is_auto(job, model):
        return Range(max(1.0, most * _SHARE), most, most)
    return Range(min(_AUTO[0], most), min(_AUTO[1], most), most)
