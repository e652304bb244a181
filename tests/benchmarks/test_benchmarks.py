"""The benchmarks measure what they say: every row is asked once and answered, whatever the shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks import answers, contenders, nginx, shapes, table, timed
from tests.benchmarks.contenders import Contender, Ran
from tests.benchmarks.shapes import Shape
from tests.benchmarks.speed import COLUMNS, Timed, time_shape

ROWS = 40

needs_nginx = pytest.mark.skipif(nginx.missing() is not None, reason=str(nginx.missing()))

SHAPES = st.builds(
    Shape,
    st.integers(1, 5_000),
    st.integers(0, 10_000),
    st.sampled_from([shapes.SMALL, shapes.LARGE]),
    st.sampled_from(["plain", "logprobs", "schema"]),
    st.booleans(),
    st.booleans(),
)


def timed_in(folder: Path, shape: str, *who: Contender) -> Timed:
    *_, last = time_shape(folder, shapes.parse(shape), ROWS, 1, who)
    assert isinstance(last, Timed)
    return last


@needs_nginx
@pytest.mark.parametrize("shape", ["8-10ms-logprobs-tls", "8-0ms-large-schema-stream"])
def test_the_bare_loop_has_every_row_answered_once(tmp_path: Path, shape: str) -> None:
    """The responder's own count says so, and the loop read that many answers."""
    seen = timed_in(tmp_path, shape, contenders.bare())
    assert [(ran.ok, ran.calls) for ran in seen.rounds["bare"]] == [(ROWS, ROWS)]


@needs_nginx
def test_batchrun_publishes_every_row_and_is_compared(tmp_path: Path) -> None:
    """Both contenders come to all rows, and the bare loop's line has the ratios."""
    seen = timed_in(tmp_path, "8-0ms-schema", contenders.batchrun(), contenders.bare())
    assert seen.is_whole
    ours, bare = (dict(zip(COLUMNS, row, strict=True)) for row in seen.rows())
    assert ours["rows/s ratio"] == ""
    assert bare["rows/s ratio"].endswith("x")


@needs_nginx
def test_an_answer_takes_its_latency(tmp_path: Path) -> None:
    """40 calls, 8 at once, of 100 ms each, are five times 100 ms."""
    seen = timed_in(tmp_path, "8-100ms-stream", contenders.bare())
    assert seen.rounds["bare"][0].seconds > 0.5


def test_a_contender_that_loses_rows_is_seen() -> None:
    """The table says how many were ok and gives no figures, which would flatter it."""
    lossy = Timed(Shape(8), {"batchrun": [ran()], "bare": [ran(ok=ROWS - 1)]})
    _, row = lossy.rows()
    assert not lossy.is_whole
    assert row == ("8-0ms bare", f"{ROWS}", f"NO: {ROWS - 1}", *[""] * (len(COLUMNS) - 3))


def test_who_asks_twice_is_seen() -> None:
    """A call more than there are rows was not the same work."""
    assert not ran(calls=ROWS + 1).is_whole


def test_ratios_are_taken_round_by_round() -> None:
    """A round in which the machine was slow for both does not move them."""
    assert table.ratio([1.0, 10.0, 2.0], [2.0, 20.0, 4.0]) == 0.5


@given(SHAPES)
def test_a_shape_is_spelled_as_it_is_read(shape: Shape) -> None:
    """Its name names it wholly."""
    assert shapes.parse(str(shape)) == shape


@pytest.mark.parametrize(
    "spelled", ["", "64", "0-0ms", "64-0", "64-0ms-tls-stream", "64-0ms-plain", "64-0ms "]
)
def test_other_spellings_are_refused(spelled: str) -> None:
    """The message says how to write one."""
    with pytest.raises(ValueError, match="IN_FLIGHT-LATENCYms"):
        shapes.parse(spelled)


def test_prompts_have_their_size_and_differ(tmp_path: Path) -> None:
    """Rows that are alike would be answered once, or compressed away."""
    shapes.write_table(tmp_path / "rows.jsonl", 50, shapes.SMALL)
    texts = [json.loads(line)["text"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert {len(text) for text in texts} == {shapes.SMALL}
    assert len(set(texts)) == 50


@pytest.mark.parametrize("answer", ["plain", "logprobs", "schema"])
def test_a_stream_says_what_the_whole_answer_says(answer: shapes.Answer) -> None:
    """So contenders do the same work, streaming or not."""
    events = [line[6:] for line in b"".join(answers.streamed(answer)).splitlines() if line]
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    said = "".join(choice["delta"].get("content", "") for choice in choices)
    assert events[-1] == b"[DONE]"
    assert said == json.loads(answers.whole(answer))["choices"][0]["message"]["content"]


def test_a_process_is_timed_with_its_children(tmp_path: Path) -> None:
    """What it hands to processes of its own counts as well."""
    took = timed.run(
        ["sh", "-c", "sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; exit 3"],
        log=tmp_path / "log",
    )
    assert took.code == 3
    assert took.cpu > 0.01


def ran(*, ok: int = ROWS, calls: int = ROWS) -> Ran:
    return Ran(ROWS, ok, calls, seconds=1.0, cpu=0.1, peak_mb=50, responder_cpu=0.01)
