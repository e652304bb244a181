"""How a running submit stands, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from batchrun.wording import clock, counted, usd

if TYPE_CHECKING:
    from batchrun.progress.snapshot import Snapshot

_REASONS = {"limits": "its limits", "retry-after": "it asks to wait", "unreachable": "it fails"}

_SHORTEST = 12
"""Columns that a name keeps at least."""


def figures(snapshot: Snapshot) -> list[str]:
    """What has been done, the most important first."""
    left = None if snapshot.paused or snapshot.landing else snapshot.seconds_left
    return [
        f"{snapshot.ok:,} ok",
        *([f"{snapshot.failed:,} failed"] if snapshot.failed else []),
        *([] if _only_batches(snapshot) else [f"{snapshot.rows_per_second:,.1f} rows/s"]),
        *([f"{clock(left)} left"] if left is not None else []),
        *spent(snapshot),
        *([] if _only_batches(snapshot) else [f"{snapshot.in_flight} in flight"]),
        counted(snapshot.tokens, "token"),
    ]


def _only_batches(snapshot: Snapshot) -> bool:
    """Whether rows go by batches, and no call of its own is under way: there is no pace then."""
    return snapshot.batches is not None and not snapshot.in_flight


def batches(snapshot: Snapshot) -> str:
    """What is waited for, and for how long; empty where no batch is under way."""
    waited = snapshot.batches
    if not waited:
        return ""
    rows, done = sum(one.rows for one in waited), sum(one.done for one in waited)
    longest = clock(max(one.seconds for one in waited))
    what = counted(len(waited), "batch")
    return f"waiting for {what}: {done:,} of {rows:,} answered, {longest} so far"


def spent(snapshot: Snapshot) -> list[str]:
    """The money that is gone, of what may go; nothing where no price is known."""
    if snapshot.cap_usd is not None:
        said = "cost not known" if snapshot.gone_usd is None else usd(snapshot.gone_usd)
        return [f"{said} of {usd(snapshot.cap_usd)}"]
    return [usd(snapshot.cost_usd)] if snapshot.cost_usd else []


def details(snapshot: Snapshot) -> list[str]:
    """How near the limits of a minute the pace is, and why rows failed."""
    return [*([] if _only_batches(snapshot) else _against_limits(snapshot)), *_failures(snapshot)]


def _against_limits(snapshot: Snapshot) -> Iterator[str]:
    for pace, limit, what in (
        (snapshot.tokens_per_minute, snapshot.token_limit, "tokens/min"),
        (snapshot.requests_per_minute, snapshot.request_limit, "requests/min"),
    ):
        if limit is not None:
            yield f"{pace:,.0f} of {limit:,.0f} {what}"


def _failures(snapshot: Snapshot) -> Iterator[str]:
    if snapshot.errors:
        yield "failed: " + ", ".join(f"{number:,} {kind}" for kind, number in snapshot.errors.items())


def hindrance(snapshot: Snapshot, width: int | None = None) -> str:
    """What keeps calls from going, and for how long; empty when nothing does.

    Within `width` columns, long names of models give way before the reason does.
    """
    under_way = f"{counted(snapshot.in_flight, 'call')} under way"
    if snapshot.landing:
        return f"stopping: waiting for {under_way}"
    if snapshot.paused:
        return "paused: `batchrun resume` goes on" + (f"; {under_way}" if snapshot.in_flight else "")
    if snapshot.waits:
        longest = max(snapshot.waits, key=lambda wait: wait.seconds)
        why = _REASONS.get(longest.reason, longest.reason)
        begin, place = f"waiting {longest.seconds:.0f} s for ", _place(longest.endpoint, longest.model)
        return f"{begin}{_shortened([place], width, len(begin) + len(why) + 2)[0]}: {why}"
    if snapshot.near_budget:
        return f"near the budget: waiting for {under_way}"
    closed = {_place(one.endpoint, one.model): f"({one.reason.type})" for one in snapshot.closed}
    if not closed:
        return ""
    places = _shortened(list(closed), width, len("closed: ") + sum(len(why) + 3 for why in closed.values()))
    return "closed: " + ", ".join(" ".join(pair) for pair in zip(places, closed.values(), strict=True))


def _shortened(places: list[str], width: int | None, rest: int) -> list[str]:
    """The names, long ones without their middle, so that they fit beside `rest` columns of other text."""
    if width is None:
        return places
    left, fitting = width - rest, dict.fromkeys(places, "")
    for done, name in enumerate(sorted(places, key=len)):  # what short ones leave is for long ones
        fitting[name] = _without_middle(name, max(_SHORTEST, left // (len(places) - done)))
        left -= len(fitting[name])
    return list(fitting.values())


def _without_middle(name: str, most: int) -> str:
    if len(name) <= most:
        return name
    end = most // 2
    return f"{name[: most - end - 1]}…{name[len(name) - end :]}"


def _place(endpoint: str, model: str | None) -> str:
    return endpoint if model is None else f"{endpoint}/{model}"
