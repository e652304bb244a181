"""`report` in a browser: what the page looks like and does, and that it does nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from batchrun.report import gather, page
from batchrun.run_folder.folder import RunFolder
from tests.drawn_runs import START, call, varied, written
from tests.hostile import ALL, hostile_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTHS = [400, 1600]
SCHEMES: list[Literal["light", "dark"]] = ["light", "dark"]

BOXES = """charts => charts.map(svg => [svg, ...svg.querySelectorAll("text")].map(element => {
  const { left, top, right, bottom } = element.getBoundingClientRect();
  return { left, top, right, bottom, text: element.textContent };
}))"""
"""Of each chart its own box, and those of its texts."""

COLOURS = """charts => charts.flatMap(svg => Array.from(svg.querySelectorAll("text"), text =>
  [getComputedStyle(text).fill, getComputedStyle(svg.closest("figure")).backgroundColor]))"""


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[[RunFolder], Page]]:
    """Opens the report of a run; at the end nothing may have been complained about, asked for or run."""
    seen: list[str] = []
    pages = []

    def open_report(run: RunFolder) -> Page:
        file = tmp_path / "report.html"
        file.write_bytes(page(gather(run), made="now"))
        shown = browser.new_page()
        pages.append(shown)
        shown.on("console", lambda message: seen.append(f"console: {message.text}"))
        shown.on("pageerror", lambda error: seen.append(f"error: {error}"))
        shown.on("dialog", lambda dialog: seen.append(f"dialog: {dialog.message}"))
        shown.on("request", lambda asked: seen.extend({asked.url} - {file.as_uri()}))
        shown.goto(file.as_uri())
        return shown

    yield open_report
    for shown in pages:
        shown.close()
    assert seen == []


RUNS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "many": lambda: [*varied(1_500)],
    "resumed": lambda: [*varied(300, pause=40 * 3600)],
    "three": lambda: [*varied(3)],
    "one": lambda: [*varied(1)],
    "none": list,
    "failed": lambda: [failed(number) for number in range(40)],
}


def failed(number: int) -> dict[str, Any]:
    """A row whose only call was refused."""
    return {
        "row_index": number,
        "status": "failed",
        "error_type": "invalid_request",
        "error": {"type": "invalid_request", "message": "it failed"},
        "attempts": [call(number / 10, 0.05, http_status=400, error_type="invalid_request")],
        "finished_at": START,
    }


@pytest.mark.parametrize("name", RUNS)
def test_charts_are_seen_and_read(opened: Callable[[RunFolder], Page], tmp_path: Path, name: str) -> None:
    """On a telephone and a large screen, light and dark: no scrolling sideways, no text outside its chart or
    upon another, and each text stands out from its ground (WCAG 1.4.3)."""
    shown = opened(written(tmp_path / "run", RUNS[name]()))
    charts = shown.locator("figure svg")
    assert charts.count() == shown.locator("figure").count()
    assert (charts.count() > 0) is (name != "none")
    assert all(charts.evaluate_all("charts => charts.map(svg => svg.ariaLabel)"))
    for width, scheme in product(WIDTHS, SCHEMES):
        shown.set_viewport_size({"width": width, "height": 900})
        shown.emulate_media(color_scheme=scheme)
        shown.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png", full_page=name != "many")
        assert shown.evaluate("document.documentElement.scrollWidth") == width
        for chart, *texts in charts.evaluate_all(BOXES):
            assert chart["right"] - chart["left"] >= 300
            assert [text["text"] for text in texts if not inside(text, chart)] == []
            assert [(a["text"], b["text"]) for a, b in combinations(texts, 2) if overlap(a, b)] == []
        assert [pair for pair in charts.evaluate_all(COLOURS) if contrast(*pair) < 4.5] == []


def inside(text: dict[str, float], chart: dict[str, float]) -> bool:
    """Whether a box is within another, to the pixel."""
    return (
        text["left"] >= chart["left"] - 1
        and text["right"] <= chart["right"] + 1
        and text["top"] >= chart["top"] - 1
        and text["bottom"] <= chart["bottom"] + 1
    )


def overlap(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two boxes share more than their edges; lines of text may touch."""
    across = min(one["right"], other["right"]) - max(one["left"], other["left"])
    down = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
    return across > 1 and down > 4


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """The relative luminance of `rgb(…)`."""
    shares = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_rows_are_searched_and_chosen(opened: Callable[[RunFolder], Page], tmp_path: Path) -> None:
    """By words that all stand in a row, and by how it ended; the number that is left is told."""
    rows = [*varied(30), *(failed(number) for number in range(30, 40))]
    rows[7]["completion"] = "A zebra crosses."
    shown = opened(written(tmp_path / "run", rows))
    visible = shown.locator("#rows > tr:visible")
    assert (visible.count(), shown.locator("#count").inner_text()) == (40, "40 of 40")
    shown.fill("#words", "crosses ZEBRA")
    assert shown.locator("#count").inner_text() == "1 of 40"
    assert visible.locator("td").first.inner_text() == "7"
    shown.fill("#words", "")
    shown.select_option("#kind", "failed")
    assert {visible.nth(n).locator("td").nth(1).inner_text() for n in range(visible.count())} == {
        "invalid_request"
    }
    assert visible.count() == 10
    shown.fill("#words", "nowhere")
    assert visible.count() == 0


def test_nothing_in_a_hostile_run_acts(opened: Callable[[RunFolder], Page], tmp_path: Path) -> None:
    """The browser complains of nothing, asks for nothing, and the title is the run's."""
    run = hostile_run(tmp_path / "run", ALL[::3])
    shown = opened(run)
    assert shown.title() != "x"
    assert shown.locator("figure svg").count() > 0
    assert shown.locator("script").count() == 1
