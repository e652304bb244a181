"""How a running submit shows itself: a live bar on a terminal, a line every 30 s elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batchrun.budget import usd
from batchrun.cli.text import Lenient
from batchrun.progress import Progress, View
from batchrun.wording import clean, clock, counted

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live

    from batchrun.admission.states import Wait

REDRAW = 0.25
"""Seconds between two drawings of the live display."""

LINE = 30.0
"""Seconds between two lines where there is no terminal."""

_WORTH_TELLING = 1.0
"""Seconds from which a wait is shown: shorter ones are the pace of the job's limits."""


_REASONS = {"limits": "its limits", "retry-after": "it asks to wait", "unreachable": "it fails"}


@contextmanager
def showing(*, plain: bool) -> Iterator[Progress]:
    """The display that fits standard error; `plain` asks for lines."""
    if not plain and sys.stderr is not None and sys.stderr.isatty():
        from batchrun.cli.terminal import error_console

        console = error_console()
        if console.is_interactive:
            with _live(console) as progress:
                yield progress
            return
    yield LineProgress(Lenient(sys.stderr))


class Rate:
    """Rows a second over the last `span` seconds."""

    def __init__(self, span: float = 20.0) -> None:
        self._span = span
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, rows: int) -> None:
        """`rows` are done at `now`, in monotonic seconds."""
        self._seen.append((now, rows))
        while len(self._seen) > 2 and self._seen[1][0] <= now - self._span:
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        """0 before two moments are known."""
        if len(self._seen) < 2 or self._seen[-1][0] <= self._seen[0][0]:
            return 0.0
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - start)

    def left(self, rows: int) -> float | None:
        """Seconds for `rows` more, None while nothing moves."""
        return rows / self.per_second if self.per_second > 0 else None


def figures(view: View, rate: Rate) -> list[str]:
    """What has been done, in words, the most important first."""
    counters = view.counters
    tokens = counters.prompt_tokens + counters.completion_tokens
    left = _left(view, rate)
    return [
        f"{counters.ok:,} ok",
        *([f"{counters.failed:,} failed"] if counters.failed else []),
        f"{rate.per_second:,.1f} rows/s",
        counted(tokens, "token"),
        *spent(view),
        f"{len(view.flights)} in flight",
        *([f"{clock(left)} left"] if left is not None else []),
    ]


def _left(view: View, rate: Rate) -> float | None:
    """Seconds until the last row is done, announced waits included; None where nothing moves."""
    left = rate.left(view.counters.to_do - view.counters.finished)
    if left is None or not (waits := _waits(view)):
        return left
    return left + max(wait.seconds for wait in waits)


def _waits(view: View) -> list[Wait]:
    """The waits that are worth telling."""
    return [wait for wait in view.admission.waiting() if wait.seconds >= _WORTH_TELLING]


def spent(view: View) -> list[str]:
    """The money that is gone, of what may go; nothing where no price is known."""
    budget = view.admission.budget
    if budget is not None and budget.caps.cost_usd is not None:
        gone = (budget.spent.cost_usd or 0.0) + (budget.held.cost_usd or 0.0)
        unknown = budget.spent.requests and not gone and view.counters.cost_usd is None
        said = "cost not known" if unknown else usd(gone)
        return [f"{said} of {usd(budget.caps.cost_usd)}"]
    return [usd(view.counters.cost_usd)] if view.counters.cost_usd else []


def hindrance(view: View, width: int | None = None) -> str:
    """What keeps calls from going, and for how long; empty when nothing does.

    Within `width` columns, long names of models give way before the reason does.
    """
    if view.flights.landing:
        return f"stopping: waiting for {counted(len(view.flights), 'call')} under way"
    if waits := _waits(view):
        longest = max(waits, key=lambda wait: wait.seconds)
        why = _REASONS.get(longest.reason, longest.reason)
        begin, place = f"waiting {longest.seconds:.0f} s for ", _place(longest.endpoint, longest.model)
        return f"{begin}{_shortened([place], width, len(begin) + len(why) + 2)[0]}: {why}"
    if view.admission.short:
        return f"near the budget: waiting for {counted(len(view.flights), 'call')} under way"
    closed = {_place(gate.endpoint, gate.model): f"({gate.reason.type})" for gate in view.admission.reasons()}
    if not closed:
        return ""
    places = _shortened(list(closed), width, len("closed: ") + sum(len(why) + 3 for why in closed.values()))
    return "closed: " + ", ".join(" ".join(pair) for pair in zip(places, closed.values(), strict=True))


_SHORTEST = 12
"""Columns that a name keeps at least."""


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


class LineProgress:
    """A line for each phase, and one every 30 seconds."""

    def __init__(self, stream: Lenient) -> None:
        self._stream = stream
        self._started = self._last = time.monotonic()

    def phase(self, text: str) -> None:
        self.say(text)

    def read(self, rows: int) -> None:
        if time.monotonic() - self._last >= LINE:
            self.say(f"{counted(rows, 'row')} read")

    def say(self, text: str) -> None:
        self._last = time.monotonic()
        body = clean(text).replace("\n", "\n  ")  # so that no text passes for another line of ours
        self._stream.write(f"[{clock(self._last - self._started)}] {body}\n")
        self._stream.flush()

    async def watch(self, view: View) -> None:
        from anyio import sleep  # loaded by now: rows are being asked

        rate = Rate(2 * LINE)
        while True:
            rate.add(time.monotonic(), view.counters.finished)
            await sleep(LINE)
            rate.add(time.monotonic(), view.counters.finished)
            done = f"{view.counters.finished:,} of {counted(view.counters.to_do, 'row')}"
            told = ", ".join([done, *figures(view, rate)])
            self.say("; ".join(filter(None, [told, hindrance(view)])))


@contextmanager
def _live(console: Console) -> Iterator[Progress]:
    from rich.live import Live

    live = Live(
        console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    )
    with live:
        yield LiveProgress(live)


class LiveProgress:
    """A bar that is drawn a few times a second, and is gone when the run has ended."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._phase = ""
        self._drawn = 0.0

    def phase(self, text: str) -> None:
        self._phase = text
        self._draw_text(text)

    def read(self, rows: int) -> None:
        if time.monotonic() - self._drawn >= REDRAW:
            self._draw_text(f"{self._phase}: {counted(rows, 'row')}")

    def say(self, text: str) -> None:
        from rich.text import Text

        self._live.console.print(Text(clean(text), style="yellow"))

    async def watch(self, view: View) -> None:
        from anyio import sleep  # loaded by now: rows are being asked

        rate = Rate()
        while True:
            rate.add(time.monotonic(), view.counters.finished)
            self._live.update(screen(view, rate, self._live.console.width), refresh=True)
            await sleep(REDRAW)

    def _draw_text(self, text: str) -> None:
        from rich.text import Text

        self._drawn = time.monotonic()
        self._live.update(Text(f"{clean(text)} …", no_wrap=True, overflow="ellipsis"), refresh=True)


def screen(view: View, rate: Rate, width: int) -> Group:
    """The live display of so many columns: a bar, the figures, and what keeps calls from going."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    counters = view.counters
    share = counters.finished / counters.to_do if counters.to_do else 1.0
    bar = Table.grid(expand=True, padding=(0, 1))
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True)
    place = f"{share:.0%} of {counted(counters.to_do, 'row')}"
    bar.add_row(ProgressBar(total=max(1, counters.to_do), completed=counters.finished), place)
    lines = [Text(" · ".join(figures(view, rate)), style="dim", no_wrap=True, overflow="ellipsis")]
    if why := hindrance(view, width):
        lines.append(Text(clean(why), style="yellow", no_wrap=True, overflow="ellipsis"))
    return Group(bar, *lines)
