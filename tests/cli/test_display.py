"""What people see while a submit runs, and that it fits their terminal."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from io import StringIO

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from batchrun.admission import Admission
from batchrun.answer.in_flight import InFlightCalls
from batchrun.answer.tail import Latencies
from batchrun.budget import Amounts, Budget, Caps
from batchrun.cli.progress import JsonProgress, LineProgress, screen
from batchrun.cli.snapshot import batches, details, figures, hindrance, spent
from batchrun.cli.text import Lenient
from batchrun.clock import Clock, PausableClock, SystemClock
from batchrun.engines.run_context import UnderWay
from batchrun.limits import Limits, Size
from batchrun.outcome import Error
from batchrun.progress.display import View
from batchrun.progress.snapshot import Snapshot, Watcher
from batchrun.summary import Counters
from batchrun.wording import clean, duration
from tests.cli.conftest import NewJob
from tests.cli.pseudo_terminal import lines_seen, on_a_terminal
from tests.clock import VirtualClock, run_virtual
from tests.gates import admitted
from tests.runs import JobFolder


@given(st.text())
def test_clean_text_holds_nothing_to_obey(text: str) -> None:
    """Of the control characters only tab and newline stay, and the text can be written."""
    cleaned = clean(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", cleaned)
    cleaned.encode()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0371, "37 ms"),
        (0.524, "0.52 s"),
        (12.34, "12.3 s"),
        (59.96, "60.0 s"),
        (245, "4:05"),
        (3723, "1:02:03"),
        (90000, "25:00:00"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    """Seconds, minutes and hours for people."""
    assert duration(seconds) == said


def test_the_rate_is_that_of_the_last_seconds() -> None:
    """A slow start does not lower the rate for ever."""
    counters = Counters(to_do=350)
    watcher = Watcher(a_view(an_admission(SystemClock()), counters), span=20)
    assert watcher.snapshot(-1).seconds_left is None
    for second in range(100):
        counters.ok = 0 if second < 50 else (second - 50) * 4
        snapshot = watcher.snapshot(second)
    assert snapshot.rows_per_second == pytest.approx(4)


def a_view(admission: Admission, counters: Counters, first: tuple[str, str] = ("openai", "small")) -> View:
    return View(counters, InFlightCalls(), admission, PausableClock(VirtualClock()), first, Latencies())


def taken(view: View) -> Snapshot:
    """How it stands at first sight."""
    return Watcher(view).snapshot(0)


def an_admission(clock: Clock) -> Admission:
    limits = {("openai", "small"): Limits()}
    return Admission({"openai": Limits(concurrency=4)}, limits, clock=clock, jitter=lambda: 0.5)


def test_a_wait_is_told_with_its_reason() -> None:
    """The display says for how long calls wait, for which endpoint, and why; and what is closed."""

    async def main() -> None:
        clock = VirtualClock()
        admission = an_admission(clock)
        view = a_view(admission, Counters(to_do=10))
        assert hindrance(taken(view)) == ""
        admission.pause("openai", clock.monotonic() + 40, "rate limit")

        async def call() -> None:
            async with admitted(admission, "openai", "small", Size(1, 1), Amounts()):
                pass

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await clock.sleep(1)
            assert hindrance(taken(view)) == "waiting 39 s for openai: rate limit"
            group.cancel_scope.cancel()
        admission.close("openai", Error("auth", "no"))
        assert hindrance(taken(view)) == "closed: openai (auth)"

    run_virtual(main)


MODEL = "some-organisation/a-model-with-a-long-name-instruct-turbo-free-2026-11-21"


def test_a_long_name_does_not_hide_the_reason() -> None:
    """It loses its middle, where the line would be longer than the terminal; what is short stays whole."""

    async def main() -> None:
        clock = VirtualClock()
        limits = {("provider-with-a-long-name", MODEL): Limits(), ("local", "small"): Limits()}
        endpoints = {name: Limits(concurrency=4) for name, _ in limits}
        admission = Admission(endpoints, limits, clock=clock, jitter=lambda: 0.5)
        view = a_view(admission, Counters(to_do=10), ("local", "small"))
        admission.close("provider-with-a-long-name", Error("model_not_found", "no"), model=MODEL)
        admission.close("local", Error("quota", "no"), model="small")
        whole = f"closed: provider-with-a-long-name/{MODEL} (model_not_found), local/small (quota)"
        assert hindrance(taken(view)) == hindrance(taken(view), 200) == whole
        said = hindrance(taken(view), 80)
        assert len(said) <= 80
        assert said.startswith("closed: provider-with")
        assert said.endswith("-11-21 (model_not_found), local/small (quota)")

    run_virtual(main)


def test_a_wait_for_a_long_name_fits() -> None:
    """With its reason, in the live display; a log's lines have room for all of it."""

    async def main() -> None:
        clock = VirtualClock()
        name = "provider-with-a-long-name-" * 4
        admission = Admission(
            {name: Limits(concurrency=4)}, {(name, "m"): Limits()}, clock=clock, jitter=lambda: 0.5
        )
        view = a_view(admission, Counters(to_do=10), (name, "m"))
        admission.pause(name, clock.monotonic() + 40, "rate limit")

        async def call() -> None:
            async with admitted(admission, name, "m", Size(1, 1), Amounts()):
                pass

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await clock.sleep(1)
            assert hindrance(taken(view)) == f"waiting 39 s for {name}: rate limit"
            console = Console(file=StringIO(), width=80, force_terminal=True, color_system=None)
            with console.capture() as drawn:
                console.print(screen(taken(view), 80))
            group.cancel_scope.cancel()
        last = drawn.get().splitlines()[-1]
        assert len(last) <= 80
        assert last.startswith("waiting 39 s for provider-with")
        assert last.endswith("long-name-: rate limit")

    run_virtual(main)


def test_the_figures() -> None:
    """Rows done and failed, their pace, tokens, calls in flight, time left; the limits; failures by kind."""
    limits = {("openai", "small"): Limits(tpm=40_000)}
    admission = Admission({"openai": Limits(rpm=300)}, limits, clock=SystemClock(), jitter=lambda: 0.5)
    counters = Counters(to_do=100)
    watcher = Watcher(a_view(admission, counters))
    watcher.snapshot(0)
    counters.ok, counters.failed, counters.calls = 38, 2, 45
    counters.prompt_tokens, counters.completion_tokens = 1200, 34
    counters.errors.update(timeout=1, server=1)
    snapshot = watcher.snapshot(10)
    assert figures(snapshot) == [
        *("38 ok", "2 failed", "4.0 rows/s"),
        *("0:15 left", "0 in flight", "1,234 tokens"),
    ]
    assert details(snapshot) == [
        *("7,404 of 40,000 tokens/min", "270 of 300 requests/min"),
        "failed: 1 timeout, 1 server",
    ]
    console = Console(file=StringIO(), width=60, force_terminal=True, color_system=None)
    with console.capture() as drawn:
        console.print(screen(snapshot, 60))
    lines = drawn.get().splitlines()
    assert [len(line) <= 60 for line in lines] == [True, True, True]
    assert "40% of 100 rows" in lines[0]


def a_view_of_batches(clock: Clock, counters: Counters, under_way: list[UnderWay]) -> View:
    view = a_view(an_admission(clock), counters)
    return replace(view, clock=PausableClock(clock), batches=lambda: under_way)


def test_batches_are_waited_for_without_a_pace() -> None:
    """How many, how far, and how long so far, in place of no rows a second and a time left that is wrong."""
    clock, counters = SystemClock(), Counters(to_do=50_010)
    under_way = [UnderWay(f"batch_{n}", "in_progress", 25_000, 600, clock.wall() - n * 3_600) for n in (1, 2)]
    watcher = Watcher(a_view_of_batches(clock, counters, under_way))
    watcher.snapshot(0)
    counters.ok, counters.calls = 10, 10
    snapshot = watcher.snapshot(100)
    assert figures(snapshot) == ["10 ok", "0 tokens"]
    assert batches(snapshot) == "waiting for 2 batches: 1,200 of 50,000 answered, 2:00:00 so far"
    assert snapshot.seconds_left is None
    assert Snapshot.from_document(json.loads(json.dumps(snapshot.document()))) == snapshot
    assert snapshot.document()["batches"][0]["done"] == 600
    console = Console(file=StringIO(), width=80, force_terminal=True, color_system=None)
    with console.capture() as drawn:
        console.print(screen(snapshot, 80))
    assert batches(snapshot) in drawn.get().splitlines()


def test_rows_that_a_batch_brings_are_no_pace_for_the_others() -> None:
    """The time left begins anew with the rows that are then asked in realtime."""
    clock, counters = SystemClock(), Counters(to_do=51_000)
    under_way = [UnderWay("batch_1", "in_progress", 50_000, 0, clock.wall())]
    watcher = Watcher(a_view_of_batches(clock, counters, under_way))
    watcher.snapshot(0)
    counters.ok = 50_000
    assert watcher.snapshot(86_400).seconds_left is None
    under_way.clear()
    assert batches(watcher.snapshot(86_401)) == ""
    counters.ok = 50_010
    assert watcher.snapshot(86_411).seconds_left == pytest.approx(990, rel=0.1)


def test_a_line_of_the_log_tells_what_is_waited_for() -> None:
    """After the figures, before what hinders."""

    async def main() -> None:
        clock, stream = VirtualClock(), StringIO()
        view = a_view_of_batches(
            clock, Counters(to_do=9), [UnderWay("batch_1", "validating", 9, 0, clock.wall())]
        )
        with anyio.move_on_after(45):
            await LineProgress(Lenient(stream)).watch(view)
        (line,) = stream.getvalue().splitlines()
        assert line.endswith("0 of 9 rows, 0 ok, 0 tokens; waiting for 1 batch: 0 of 9 answered, 0:30 so far")

    run_virtual(main)


def test_a_submit_that_stops_promises_no_end() -> None:
    """Rows that are not asked any more have no time left."""
    in_flight_calls, counters = InFlightCalls(), Counters(to_do=100)
    view = replace(a_view(an_admission(SystemClock()), counters), in_flight_calls=in_flight_calls)
    watcher = Watcher(view)
    watcher.snapshot(0)
    counters.ok = 40
    assert "0:15 left" in figures(watcher.snapshot(10))
    in_flight_calls.drain_until(30)
    assert [text for text in figures(watcher.snapshot(11)) if "left" in text] == []


def test_the_time_left_holds_the_wait_that_is_told_beside_it() -> None:
    """60 rows at 4 a second after 28 s of waiting are not done in 15 s."""

    async def main() -> None:
        clock = VirtualClock()
        admission = an_admission(clock)
        counters = Counters(to_do=100)
        watcher = Watcher(a_view(admission, counters))
        watcher.snapshot(0)
        counters.ok = 40
        assert "0:15 left" in figures(watcher.snapshot(10))
        admission.pause("openai", clock.monotonic() + 29, "rate limit")

        async def call() -> None:
            async with admitted(admission, "openai", "small", Size(1, 1), Amounts()):
                pass

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await clock.sleep(1)
            snapshot = watcher.snapshot(10)
            assert hindrance(snapshot) == "waiting 28 s for openai: rate limit"
            assert "0:43 left" in figures(snapshot)
            group.cancel_scope.cancel()

    run_virtual(main)


def test_a_snapshot_is_the_same_after_its_way_through_a_file() -> None:
    """With what is waited for and what is closed."""

    async def main() -> None:
        clock = VirtualClock()
        admission = an_admission(clock)
        admission.close("openai", Error("quota", "no credit"))
        snapshot = taken(a_view(admission, Counters(to_do=3, ok=1)))
        assert snapshot.closed
        assert Snapshot.from_document(json.loads(json.dumps(snapshot.document()))) == snapshot

    run_virtual(main)


@pytest.mark.parametrize(
    ("cost", "bound", "said"),
    [(None, None, "cost not known of $5.00"), (0.0, 0.0, "$0.00 of $5.00"), (None, 0.5, "$0.50 of $5.00")],
)
def test_money_that_is_not_known_is_not_shown_as_none(
    cost: float | None, bound: float | None, said: str
) -> None:
    """A call without a price counts for nothing; one that is free, or held at its bound, is known."""
    budget = Budget(Caps(cost_usd=5, soft=True))
    reservation = budget.reserve(Amounts(bound, 10, 1))
    assert reservation is not None
    budget.settle(reservation, Amounts(cost, 10, 1))
    limits = {("openai", "small"): Limits()}
    clock = SystemClock()
    admission = Admission({"openai": Limits()}, limits, clock=clock, jitter=lambda: 0.5, budget=budget)
    assert spent(taken(a_view(admission, Counters(cost_usd=cost)))) == [said]


def test_a_display_that_cannot_be_written_is_no_error() -> None:
    """A terminal that has gone does not end a run."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as stream:
        LineProgress(Lenient(stream)).phase("reading")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # what the stream still holds goes there


def test_machines_are_told_in_lines_of_json() -> None:
    """Each has its event and the seconds since the start; no text breaks out of its line."""
    stream = StringIO()
    progress = JsonProgress(Lenient(stream))
    progress.phase("reading rows.jsonl")
    progress.say("two\nlines \x1b[31m")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["text"]) == ("phase", "reading rows.jsonl")
    assert (second["event"], second["text"]) == ("message", "two\nlines \x1b[31m")
    assert first["seconds"] <= second["seconds"]
    assert "\x1b" not in stream.getvalue()


def test_a_submit_on_a_terminal(new_job: NewJob) -> None:
    """There is a live bar, no line is over 80 columns, and the cursor is given back."""
    job = new_job(60, retry={"max_attempts": 1})
    code, written = on_a_terminal(["submit", "job.yaml"], job.folder)
    assert code == 1
    assert "of 60 rows" in written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert max(map(len, lines_seen(written))) <= 80


@pytest.mark.parametrize(
    "words", [["plan", "job.yaml"], ["status", "job.yaml"], ["show", "job.yaml"], ["submit", "--help"]]
)
def test_no_line_is_over_80_columns(run: JobFolder, new_job: NewJob, words: list[str]) -> None:
    """Text wraps under its label; NO_COLOR leaves no colour."""
    long = [{"role": "user", "content": "{{ text }} " + "words " * 40 + "x" * 90}]
    folder = new_job(prompt={"messages": long}).folder if words[0] == "plan" else run.folder
    _, written = on_a_terminal(words, folder, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", written)
    assert max(map(len, lines_seen(written))) <= 80
