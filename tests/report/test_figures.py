"""What a report counts: over time, by model, and in the answers, part by part as if all rows were held."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrun.job.snapshot import read_snapshot
from batchrun.report.calls import OverTime
from batchrun.report.figures import Figures, figures
from batchrun.report.members import binned, members
from batchrun.report.timeline import QUIET, SPANS, Timeline, timeline
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import rows_by_part, see
from batchrun.run_folder.results.totals import QUANTILES
from tests.drawn_runs import varied, written
from tests.run_folder.answering import Work, failed

Span = tuple[float, float]

spans = st.lists(
    st.tuples(st.floats(0, 1e5), st.floats(0, 500)).map(lambda both: (both[0], sum(both))), min_size=1
)


def figures_of(run: RunFolder) -> Figures:
    """As a report counts them."""
    seen = see(run)
    found = figures(lambda: rows_by_part(seen), (read_snapshot(run.job_yaml) or {}).get("schema"))
    assert found is not None
    return found


def over_time(run: RunFolder) -> OverTime:
    found = figures_of(run).over_time
    assert found is not None
    return found


def frame(found: Sequence[Span]) -> pl.DataFrame:
    return pl.DataFrame(found, schema=SPANS, orient="row")


def test_a_pause_is_no_time_at_work() -> None:
    """Two submits with a day between them are drawn side by side, and where the one ends is known."""
    found = timeline([frame([(0, 100), (50, 200)]), frame([(86_400, 86_500)])])
    assert (found.starts, found.ends) == ((0, 86_400), (200, 86_500))
    assert (found.at_work, found.pauses, found.paused) == (300, (200,), 86_200)
    assert found.at(pl.Series([0.0, 150, 200, 5_000, 86_400, 86_450])).to_list() == [
        0,
        150,
        200,
        200,
        200,
        250,
    ]


def test_a_wait_within_a_long_submit_is_seen() -> None:
    """Five minutes in which an endpoint asked to wait, in a run of four hours, are part of what happened."""
    found = timeline([frame([(0, 7_200), (7_500, 14_400)])])
    assert (found.at_work, found.pauses) == (14_400, ())


@settings(deadline=None)
@given(spans, st.integers(1, 4))
def test_the_timeline_is_the_same_part_by_part(found: list[Span], parts: int) -> None:
    """In whatever order and pieces the spans come; none is cut, and no pause is short."""
    whole = timeline([frame(found)])
    assert timeline(frame(found[at::parts]) for at in range(parts)) == whole
    for start, end in found:
        assert any(a <= start and end <= b for a, b in zip(whole.starts, whole.ends, strict=True))
        at = whole.at(pl.Series([start, end]))
        assert at[1] - at[0] == pytest.approx(end - start, abs=1e-6)
    gaps = zip(whole.ends, whole.starts[1:], strict=False)
    assert all(later - earlier > QUIET for earlier, later in gaps)


def test_what_goes_on_is_counted_in_its_stretch(tmp_path: Path) -> None:
    """Rows where they end, calls for as long as they are under way, latencies where the answer comes: as one
    would count them with all rows before one's eyes, to two hundredths of a latency."""
    rows = [*varied(700, pause=7_000)]
    found = over_time(written(tmp_path / "run", rows, part=90))
    table, width = found.stretches, found.seconds
    calls = [one for row in rows for one in row["attempts"]]
    starts = found.timeline.at(seconds(one["started_at"] for one in calls))
    ends = [start + one["latency"] for start, one in zip(starts, calls, strict=True)]

    def place(at: float) -> int:
        return min(table.height - 1, int(at / width))

    finished = Counter(map(place, found.timeline.at(seconds(row["finished_at"] for row in rows))))
    assert table["rows"].to_list() == [finished[n] for n in range(table.height)]
    for number, mean in enumerate(table["in_flight"]):
        low, high = number * width, (number + 1) * width
        busy = sum(max(0, min(end, high) - max(start, low)) for start, end in zip(starts, ends, strict=True))
        assert mean == pytest.approx(busy / width, abs=1e-3)
    for number in range(table.height):
        own = [
            one["latency"]
            for end, one in zip(ends, calls, strict=True)
            if place(end) == number and one["http_status"] == 200
        ]
        for name, share in QUANTILES.items():
            wanted = sorted(own)[math.ceil(share * len(own)) - 1] if own else None
            assert table[name][number] == (wanted and pytest.approx(wanted, rel=0.02))
    errors = Counter(one["error_type"] for one in calls if one.get("error_type"))
    assert (
        Counter(dict(found.errors.group_by("error_type").agg(pl.col("number").sum()).iter_rows())) == errors
    )


def seconds(times: Any) -> pl.Series:
    return pl.Series([time.timestamp() for time in times], dtype=pl.Float64)


def test_the_rest_is_summed_over_all_parts(tmp_path: Path) -> None:
    """Tokens of all calls and costs of all rows by model, attempts, reasons, confidence, values of parsed."""
    rows = [*varied(500)]
    run = written(tmp_path / "run", rows, part=70)
    found = figures_of(run)
    all_rows = pl.read_parquet(run.results / "*.parquet", memory_map=False)
    assert found.rows == 500
    assert found.tokens["prompt"].sum() == sum(row["usage"]["prompt_tokens"] for row in rows)
    assert found.costs["cost"].sum() == pytest.approx(all_rows["cost_usd"].sum())
    assert dict(found.calls.iter_rows()) == Counter(len(row["attempts"]) for row in rows)
    assert dict(found.reasons.iter_rows()) == Counter(row["finish_reason"] for row in rows)
    assert dict(found.confidence.iter_rows()) == Counter(min(19, int(row["confidence"] * 20)) for row in rows)
    by_path = {one.member.path: one for one in found.distributions}
    assert list(by_path) == ["label", "kind", "score", "stars", "inside.sure"]
    assert dict(by_path["label"].counts.iter_rows()) == Counter(row["parsed"]["label"] for row in rows)
    scores = [row["parsed"]["score"] for row in rows if row["parsed"]["score"] is not None]
    assert by_path["score"].extremes == (min(scores), max(scores))
    for low, high, number in by_path["score"].counts.iter_rows():
        assert number == sum(low <= score < high for score in scores)
    stars = {(low + high) / 2: number for low, high, number in by_path["stars"].counts.iter_rows()}
    assert stars == Counter(row["parsed"]["stars"] for row in rows)


def test_a_run_that_was_killed_is_counted_too(tmp_path: Path) -> None:
    """What lies in the checkpoint alone is drawn as well."""
    work = Work(tmp_path).write([{"text": f"question {n}"} for n in range(9)])
    work.answer(range(4))
    work.publish()
    work.answer([4, 5], failed)
    found = figures_of(work.run)
    assert (found.rows, found.over_time is not None) == (6, True)
    assert dict(found.calls.iter_rows()) == {1: 6}


def test_a_run_without_a_row_has_no_figures(tmp_path: Path) -> None:
    """And one with few calls nothing over time."""
    run = RunFolder(tmp_path / "run")
    run.claim("job")
    assert figures(lambda: rows_by_part(see(run)), None) is None
    none = written(tmp_path / "none", [])
    assert figures(lambda: rows_by_part(see(none)), None) is None
    assert figures_of(written(tmp_path / "few", [*varied(2)])).over_time is None


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_bins_hold_all_values_and_are_few(one: float, other: float) -> None:
    """From the least to the greatest number, whatever they are; or there are none."""
    least, most = sorted((one, other))
    bins = binned(least, most, is_whole=False)
    if bins is None:
        return
    assert 1 <= bins.count <= 25
    assert bins.low <= least + bins.step / 1e9
    assert most <= bins.low + bins.count * bins.step * (1 + 1e-6)
    places = pl.DataFrame({"x": [least, most]}).select(bins.bin(pl.col("x")))["x"].to_list()
    assert 0 <= places[0] <= places[1] <= bins.count - 1


@pytest.mark.parametrize(
    ("least", "most", "is_whole", "expected"),
    [
        (1, 5, True, (0.5, 1.0, 5)),
        (0, 1, False, (0.0, 0.05, 20)),
        (0, 1_000, True, (0.0, 50.0, 20)),
        (3, 3, True, (2.5, 1.0, 1)),
        (-7, 113, False, (-10.0, 10.0, 13)),
        (0, 3e-7, False, (0.0, 2e-8, 15)),
    ],
)
def test_bins_are_round(
    least: float, most: float, is_whole: bool, expected: tuple[float, float, int]
) -> None:
    """Few whole numbers have a bin each, with the number in its middle."""
    bins = binned(least, most, is_whole=is_whole)
    assert bins is not None
    assert (bins.low, bins.step, bins.count) == pytest.approx(expected)


@pytest.mark.parametrize(("least", "most"), [(-1e308, 1e308), (1e300, math.nextafter(1e300, math.inf))])
def test_what_doubles_cannot_part_has_no_bins(least: float, most: float) -> None:
    """There would be nothing to see."""
    assert binned(least, most, is_whole=False) is None


@pytest.mark.parametrize(
    ("kind", "schema", "expected"),
    [
        (pl.String(), {"enum": ["a", "b"]}, [("", False)]),
        (pl.String(), {"type": "string"}, []),
        (pl.String(), None, []),
        (pl.Int64(), {"enum": [200, 404]}, [("", False)]),
        (pl.Int64(), {"type": "integer"}, [("", True)]),
        (pl.Float64(), None, [("", True)]),
        (pl.Boolean(), None, [("", False)]),
        (pl.List(pl.String()), {"type": "array", "items": {"enum": ["a"]}}, []),
        (
            pl.Struct({"*": pl.String(), "^x$": pl.Float64(), "in": pl.Struct({"a.b": pl.String()})}),
            {
                "properties": {
                    "*": {"anyOf": [{"$ref": "#/$defs/e"}, {"type": "null"}]},
                    "in": {"allOf": [{"properties": {"a.b": {"const": "c"}}}]},
                },
                "$defs": {"e": {"enum": ["a"]}},
            },
            [("*", False), ("^x$", True), ("in.a.b", False)],
        ),
        (pl.Struct({"a": pl.String()}), {"$ref": "#"}, []),
        (pl.Struct({"a": pl.String()}), {"properties": {"a": {"$ref": "#/nowhere"}}}, []),
    ],
    ids=str,
)
def test_which_members_are_counted(kind: pl.DataType, schema: Any, expected: list[tuple[str, bool]]) -> None:
    """Numbers, booleans, and what the schema enumerates, by references and in unions with null too."""
    assert [(one.path, one.is_number) for one in members(kind, schema)] == expected


def test_names_that_are_patterns_are_counted_each_alone(tmp_path: Path) -> None:
    """A member called `*` is not all of them."""
    parsed = pa.struct([("*", pa.float64()), ("^.*$", pa.bool_())])
    rows = [{"row_index": n, "parsed": {"*": float(n), "^.*$": n > 1}} for n in range(4)]
    found = figures_of(written(tmp_path / "run", rows, parsed=parsed, schema=None)).distributions
    assert [(one.member.path, one.given) for one in found] == [("*", 4), ("^.*$", 4)]
    assert dict(found[1].counts.iter_rows()) == {"false": 2, "true": 2}


def test_what_is_no_number_is_not_counted(tmp_path: Path) -> None:
    """Infinities have no place on an axis; and a row that says nothing of its calls had none."""
    scores = [1.0, math.inf, -math.inf, math.nan, None, 3.0]
    rows = [{"row_index": n, "attempts": None, "parsed": {"score": x}} for n, x in enumerate(scores)]
    found = figures_of(written(tmp_path / "run", rows))
    [score] = found.distributions
    assert (score.given, score.extremes) == (2, (1.0, 3.0))
    assert dict(found.calls.iter_rows()) == {0: 6}


def test_an_empty_timeline() -> None:
    """Nothing went on."""
    assert timeline([]) == Timeline((), ())
    assert (Timeline((), ()).at_work, Timeline((), ()).paused) == (0, 0)
