"""What people see while a submit runs, and that it fits their terminal."""

from __future__ import annotations

import os
import re
from io import StringIO

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from batchrun.admission import Admission
from batchrun.budget import Amounts, Budget, Caps
from batchrun.cli.progress import LineProgress, Rate, figures, hindrance, screen, spent
from batchrun.cli.text import Lenient
from batchrun.flights import Flights
from batchrun.limits import Limits, Size
from batchrun.outcome import Error
from batchrun.progress import View
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
    """A slow start does not lower the rate for ever, and a stand-still gives no time left."""
    rate = Rate(span=20)
    assert rate.left(10) is None
    for second in range(100):
        rate.add(second, 0 if second < 50 else (second - 50) * 4)
    assert rate.per_second == pytest.approx(4)
    assert rate.left(200) == pytest.approx(50)


def a_view(admission: Admission, counters: Counters) -> View:
    return View(counters, Flights(), admission)


def an_admission(clock: VirtualClock) -> Admission:
    limits = {("openai", "small"): Limits()}
    return Admission({"openai": Limits(concurrency=4)}, limits, clock=clock, jitter=lambda: 0.5)


def test_a_wait_is_told_with_its_reason() -> None:
    """The display says for how long calls wait, for which endpoint, and why; and what is closed."""

    async def main() -> None:
        clock = VirtualClock()
        admission = an_admission(clock)
        view = a_view(admission, Counters(to_do=10))
        assert hindrance(view) == ""
        admission.pause("openai", clock.monotonic() + 40, "rate limit")

        async def call() -> None:
            async with admitted(admission, "openai", "small", Size(1, 1), Amounts()):
                pass

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await clock.sleep(1)
            assert hindrance(view) == "waiting 39 s for openai: rate limit"
            group.cancel_scope.cancel()
        admission.close("openai", Error("auth", "no"))
        assert hindrance(view) == "closed: openai (auth)"

    run_virtual(main)


MODEL = "some-organisation/a-model-with-a-long-name-instruct-turbo-free-2026-11-21"


def test_a_long_name_does_not_hide_the_reason() -> None:
    """It loses its middle, where the line would be longer than the terminal; what is short stays whole."""

    async def main() -> None:
        clock = VirtualClock()
        limits = {("provider-with-a-long-name", MODEL): Limits(), ("local", "small"): Limits()}
        endpoints = {name: Limits(concurrency=4) for name, _ in limits}
        admission = Admission(endpoints, limits, clock=clock, jitter=lambda: 0.5)
        view = a_view(admission, Counters(to_do=10))
        admission.close("provider-with-a-long-name", Error("model_not_found", "no"), model=MODEL)
        admission.close("local", Error("quota", "no"), model="small")
        whole = f"closed: provider-with-a-long-name/{MODEL} (model_not_found), local/small (quota)"
        assert hindrance(view) == hindrance(view, 200) == whole
        said = hindrance(view, 80)
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
        view = a_view(admission, Counters(to_do=10))
        admission.pause(name, clock.monotonic() + 40, "rate limit")

        async def call() -> None:
            async with admitted(admission, name, "m", Size(1, 1), Amounts()):
                pass

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await clock.sleep(1)
            assert hindrance(view) == f"waiting 39 s for {name}: rate limit"
            console = Console(file=StringIO(), width=80, force_terminal=True, color_system=None)
            with console.capture() as drawn:
                console.print(screen(view, Rate(), 80))
            group.cancel_scope.cancel()
        last = drawn.get().splitlines()[-1]
        assert len(last) <= 80
        assert last.startswith("waiting 39 s for provider-with")
        assert last.endswith("long-name-: rate limit")

    run_virtual(main)


def test_the_figures() -> None:
    """Rows done and failed, rows a second, tokens, calls in flight, time left."""

    async def main() -> None:
        view = a_view(
            an_admission(VirtualClock()),
            Counters(to_do=100, ok=38, failed=2, prompt_tokens=1200, completion_tokens=34),
        )
        rate = Rate()
        rate.add(0, 0)
        rate.add(10, 40)
        expected = ["38 ok", "2 failed", "4.0 rows/s", "1,234 tokens", "0 in flight", "0:15 left"]
        assert figures(view, rate) == expected
        console = Console(file=StringIO(), width=60, force_terminal=True, color_system=None)
        with console.capture() as drawn:
            console.print(screen(view, rate, 60))
        lines = drawn.get().splitlines()
        assert [len(line) <= 60 for line in lines] == [True, True]
        assert "40% of 100 rows" in lines[0]

    run_virtual(main)


def test_the_time_left_holds_the_wait_that_is_told_beside_it() -> None:
    """60 rows at 4 a second after 28 s of waiting are not done in 15 s."""

    async def main() -> None:
        clock = VirtualClock()
        admission = an_admission(clock)
        view = a_view(admission, Counters(to_do=100, ok=40))
        rate = Rate()
        rate.add(0, 0)
        rate.add(10, 40)
        assert figures(view, rate)[-1] == "0:15 left"
        admission.pause("openai", clock.monotonic() + 29, "rate limit")

        async def call() -> None:
            async with admitted(admission, "openai", "small", Size(1, 1), Amounts()):
                pass

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await clock.sleep(1)
            assert hindrance(view) == "waiting 28 s for openai: rate limit"
            assert figures(view, rate)[-1] == "0:43 left"
            group.cancel_scope.cancel()

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
    admission = Admission({}, {}, clock=VirtualClock(), jitter=lambda: 0.5, budget=budget)
    assert spent(a_view(admission, Counters(cost_usd=cost))) == [said]


def test_a_display_that_cannot_be_written_is_no_error() -> None:
    """A terminal that has gone does not end a run."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as stream:
        LineProgress(Lenient(stream)).phase("reading")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # what the stream still holds goes there


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
