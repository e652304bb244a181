"""How a running submit shows itself: a live bar on a terminal, elsewhere a line every 30 s, for people or
machines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchrun.cli.snapshot import batches, details, figures, hindrance
from batchrun.cli.text import Lenient
from batchrun.progress.display import Progress, View
from batchrun.wording import clean, clock, counted

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live

    from batchrun.progress.snapshot import Snapshot

REDRAW = 0.25
"""Seconds between two drawings of the live display."""

LINE = 30.0
"""Seconds between two lines where there is no terminal."""


@contextmanager
def showing(*, as_json: bool, silent: bool = False) -> Iterator[Progress]:
    """The display that fits standard error; `as_json` asks for lines of JSON, `silent` for none."""
    if silent:
        with Path(os.devnull).open("w", encoding="utf-8") as nothing:
            yield LineProgress(Lenient(nothing))
        return
    if as_json:
        yield JsonProgress(Lenient(sys.stderr))
        return
    if sys.stderr is not None and sys.stderr.isatty():
        from batchrun.cli.terminal import error_console

        console = error_console()
        if console.is_interactive:
            with _live(console) as progress:
                yield progress
            return
    yield LineProgress(Lenient(sys.stderr))


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
        async for snapshot in looks(view, LINE):
            done = f"{snapshot.finished:,} of {counted(snapshot.to_do, 'row')}"
            told = ", ".join([done, *figures(snapshot)])
            more = [batches(snapshot), *details(snapshot), hindrance(snapshot)]
            self.say("; ".join(filter(None, [told, *more])))


class JsonProgress:
    """The same as lines of JSON: each has `event` and the `seconds` since the start."""

    def __init__(self, stream: Lenient) -> None:
        self._stream = stream
        self._started = self._last = time.monotonic()

    def phase(self, text: str) -> None:
        self._tell("phase", text=text)

    def read(self, rows: int) -> None:
        if time.monotonic() - self._last >= LINE:
            self._tell("read", rows=rows)

    def say(self, text: str) -> None:
        self._tell("message", text=text)

    async def watch(self, view: View) -> None:
        async for snapshot in looks(view, LINE):
            self._tell("progress", **snapshot.document())

    def _tell(self, event: str, **fields: Any) -> None:
        from batchrun.wording import json_line

        self._last = time.monotonic()
        line = json_line({"event": event, "seconds": round(self._last - self._started, 1), **fields})
        self._stream.write(line + "\n")
        self._stream.flush()


async def looks(view: View, every: float) -> AsyncIterator[Snapshot]:
    """How a running engine stands, each `every` seconds."""
    from anyio import sleep  # loaded by now: rows are being asked

    from batchrun.progress.snapshot import Watcher

    watcher = Watcher(view, span=max(20.0, 2 * every))
    watcher.snapshot()
    while True:
        await sleep(every)
        yield watcher.snapshot()


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

        from batchrun.progress.snapshot import Watcher

        watcher = Watcher(view)
        while True:
            self._live.update(screen(watcher.snapshot(), self._live.console.width), refresh=True)
            await sleep(REDRAW)

    def _draw_text(self, text: str) -> None:
        from rich.text import Text

        self._drawn = time.monotonic()
        self._live.update(Text(f"{clean(text)} …", no_wrap=True, overflow="ellipsis"), refresh=True)


def screen(snapshot: Snapshot, width: int) -> Group:
    """The live display of so many columns: a bar, the figures, and what keeps calls from going."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    share = snapshot.finished / snapshot.to_do if snapshot.to_do else 1.0
    bar = Table.grid(expand=True, padding=(0, 1))
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True)
    place = f"{share:.0%} of {counted(snapshot.to_do, 'row')}"
    bar.add_row(ProgressBar(total=max(1, snapshot.to_do), completed=snapshot.finished), place)
    told = [" · ".join(figures(snapshot)), batches(snapshot), " · ".join(details(snapshot))]
    lines = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in told if line]
    if why := hindrance(snapshot, width):
        lines.append(Text(clean(why), style="yellow", no_wrap=True, overflow="ellipsis"))
    return Group(bar, *lines)
