"""The charts of a report: which there are, what they say in words, and that they are nothing but shapes."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchrun.report import MISSING, drawer, gather, page
from batchrun.report.charts import MOST, MOST_ERRORS
from batchrun.report.labels import label
from batchrun.report.specs import Bar, bars
from batchrun.run_folder.folder import RunFolder
from batchrun.summary import CheckOutcome
from tests.commands import batchrun
from tests.drawn_runs import START, call, varied, written
from tests.report.test_report import Tree

CHARTS = [
    *("Throughput", "Latency of answered calls", "Concurrency", "Failed calls by error"),
    *("Tokens by model", "Cost by model", "Attempts per row", "Finish reasons"),
    *("label", "kind", "score", "stars", "inside.sure", "Confidence"),
]


def said(run: RunFolder) -> dict[str, str]:
    """What each chart says in words."""
    return {chart.title: chart.says for chart in gather(run).charts}


def svgs(text: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", text, re.DOTALL)


def test_each_question_has_its_chart(tmp_path: Path) -> None:
    """Over time, by model, by row, and for each member of parsed that can be counted; free text has none."""
    run = written(tmp_path / "run", [*varied(400)])
    assert list(said(run)) == CHARTS
    drawings = svgs(page(gather(run), made="now").decode())
    assert len(drawings) == len(CHARTS)
    for title, drawing in zip(CHARTS, drawings, strict=True):
        root = ElementTree.fromstring(drawing)
        assert root.get("role") == "img"
        assert root.get("aria-label", "").startswith(f"{title}: ")
        assert "".join(root.itertext())


def test_what_charts_say(tmp_path: Path) -> None:
    """Their main figures, for who does not see them too."""
    usage = {"prompt_tokens": 1_000, "completion_tokens": 20}
    rows = [
        {
            "row_index": n,
            "attempts": [
                *([call(n, 0.1, http_status=429, error_type="rate_limit")] * (n % 2)),
                call(n, usage=usage),
            ],
            "finished_at": call(n + 0.5)["started_at"],
            "finish_reason": "stop" if n else "length",
            "model": "local/small",
            "cost_usd": 0.25,
            "confidence": n / 10,
            "parsed": {"stars": n, "label": "class 3"},
        }
        for n in range(11)
    ]
    assert said(written(tmp_path / "run", rows)) == {
        "Throughput": "11 rows in 10.5 s: 1.05 rows/s, at most 1.05",
        "Latency of answered calls": "p50 0.50 s, p95 0.50 s, p99 0.50 s",
        "Concurrency": "0.571 calls under way on average, at most 0.571",
        "Failed calls by error": "5 calls did not answer their row; each error to a scale of its own",
        "Tokens by model": "11,000 prompt + 220 completion tokens",
        "Cost by model": "$2.75 for 11 rows whose cost is known, by the model that decided the row",
        "Attempts per row": "11 rows, 5 of them with more than one call",
        "Finish reasons": "11 rows; most often (90.9%): stop",
        "label": "11 values; most often (100.0%): class 3",
        "stars": "11 numbers: 0 to 10",
        "Confidence": "11 rows; 18.2% with a confidence of 0.9 or more",
    }


def test_many_categories_are_cut_and_the_rest_is_one(tmp_path: Path) -> None:
    """The most frequent are drawn, and all others together, so that nothing is missing."""
    rows = [
        {
            "row_index": n,
            "finish_reason": f"reason {n % 40:02d}",
            "attempts": [call(n, http_status=500, error_type=f"kind {n % 20:02d}")],
            "finished_at": START,
        }
        for n in range(80)
    ]
    drawn = dict(
        zip(
            said(run := written(tmp_path / "run", rows)),
            svgs(page(gather(run), made="").decode()),
            strict=True,
        )
    )
    reasons = re.findall(r"reason \d\d|\d+ others", drawn["Finish reasons"])
    assert (len(reasons), reasons[-1]) == (MOST + 1, "29 others")  # the first of them in the label, too
    kinds = re.findall(r">(kind \d\d|\d+ others)<", drawn["Failed calls by error"])
    assert (len(kinds), kinds[-1]) == (MOST_ERRORS, "13 others")


def test_a_schema_with_many_members_is_not_drawn_whole(tmp_path: Path) -> None:
    """The first of them are, and how many are not is told."""
    names = [f"n{n}" for n in range(30)]
    rows = [{"row_index": 0, "parsed": dict.fromkeys(names, 1.5)}]
    parsed = pa.struct([(name, pa.float64()) for name in names])
    found = gather(written(tmp_path / "run", rows, parsed=parsed, schema=None))
    assert [chart.title for chart in found.charts if chart.title in names] == names[:24]
    assert found.charts_note == "Members of parsed beyond the first 24 are left out: 6."


def test_a_pause_is_told(tmp_path: Path) -> None:
    """Of a run that was stopped and resumed: how long it was, and where it is."""
    found = gather(written(tmp_path / "run", [*varied(200, pause=86_400)]))
    assert found.charts_note.startswith("Left out of the time at work: 1 pause, 23:59:5")
    assert svgs(page(found, made="now").decode())[0].count("stroke-dasharray") == 1


def test_many_pauses_are_told_without_a_fence_of_lines(tmp_path: Path) -> None:
    """As of a job that a timer starts every hour; and calls that took no time at all are no division by 0."""
    hourly = [
        {"row_index": n, "attempts": [call(n * 3_600, 0.0)], "finished_at": call(n * 3_600)["started_at"]}
        for n in range(30)
    ]
    found = gather(written(tmp_path / "run", hourly))
    assert found.charts_note == "Left out of the time at work: 29 pauses, 29:00:00 in all."
    assert found.charts[0].says.startswith("30 rows in 1.00 s")
    assert svgs(page(found, made="now").decode())[0].count("stroke-dasharray") == 0


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=100))
@example("0000000000000000000ÆÆÆÆÆ𝒖")  # whose last sign the library would cut in two
@example("#0")  # as the marks that stand for labels
@example("\ufffe\x00]]>&amp;")
def test_any_name_is_drawn(text: str) -> None:
    """As it is, or cut; and it changes nothing else in the drawing."""
    draw = drawer()
    assert draw is not None
    found, plain = (Tree(draw(bars([Bar(name, (1.0,), "figure")]), "")) for name in (text, "plain"))
    assert found.texts == [label(text, 196), "figure"]
    assert found.elements == plain.elements


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("", "(empty)"),
        (" \t ", "\u2409"),
        ("i" * 42, "i" * 42),
        ("i" * 99, "i" * 40 + "…"),
        ("M" * 99, "M" * 17 + "…"),
        ("語" * 99, "語" * 13 + "…"),
        ("a\u0301" * 28, "a\u0301" * 28),
        ("two words " * 9, "two words two words two wor…"),
        ("𝒖" * 99, "𝒖" * 26 + "…"),
    ],
    ids=ascii,
)
def test_labels_are_cut_by_their_width(text: str, expected: str) -> None:
    """So that they end before the figure beside them, in wide fonts too."""
    assert label(text, 200) == expected


def test_a_drawing_holds_shapes_and_texts_alone(tmp_path: Path) -> None:
    """No style, no link, no id that another drawing has too; colours are those that the page knows."""
    style = (Path(sys.modules["batchrun.report"].__file__ or "").parent / "page.css").read_text()
    for drawing in svgs(page(gather(written(tmp_path / "run", [*varied(300)])), made="now").decode()):
        for element in ElementTree.fromstring(drawing).iter():
            assert element.tag in {"svg", "g", "path", "line", "rect", "text"}
            assert not set(element.keys()) & {"style", "class", "id", "href", "clip-path", "filter"}
            for name in ("fill", "stroke"):
                colour = element.get(name, "none")
                assert colour == "none" or f'[{name}="{colour}"]' in style


def test_a_report_without_the_library_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the page, with what the charts would have said, and on standard error, with what to do."""
    run = written(tmp_path / "run", [*varied(20)])
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    ended = batchrun("report", run.path, "--json", cwd=tmp_path)
    assert (ended.code, ended.json["charts"]) == (0, 0)
    assert ended.err == f"{MISSING}: pip install vl-convert-python\n"
    text = (run.path / "report.html").read_text()
    assert f"Made {MISSING}." in text
    assert "Throughput: 20 rows in" in text
    assert svgs(text) == []


def test_the_checks_of_the_job_are_in_the_report(tmp_path: Path) -> None:
    """Whether they hold, by what figures; the one that every job has is told by the failed rows."""
    run = written(tmp_path / "run", [*varied(5)])
    outcomes = [
        CheckOutcome("failed", "<= 0", 0, 5, 0.0, True, None, None),
        CheckOutcome("parsed", ">= 99%", 5, 5, 1.0, True, None, None),
        CheckOutcome("n < 3 <b>", ">= 50%", 2, 5, 0.4, False, "x", None),
        CheckOutcome("CAST(a AS INT) > 1", "> 1", None, 5, None, False, None, "no number: \x1b"),
    ]
    document = {"state": "finished", "checks": [asdict(one) for one in outcomes]}
    run.run_json.write_text(json.dumps(document))
    found = gather(run).checks
    assert [(one.holds, one.text, one.error) for one in found] == [
        (True, "holds: parsed: 5 of 5 rows (100%), wanted >= 99%", ""),
        (False, "does not hold: n < 3 <b>: 2 of 5 rows (40%), wanted >= 50%", ""),
        (False, "does not hold: CAST(a AS INT) > 1: cannot be counted, wanted > 1", "no number: \u241b"),
    ]
    text = page(gather(run), made="now").decode()
    assert '<li class="failed"><bdi>does not hold: n &lt; 3 &lt;b&gt;: 2 of 5' in text
