"""Hostile texts in every place of a run, and what of them gets through to terminals, cells and pages."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from batchrun.report import gather, page
from tests.cli.pseudo_terminal import here_on_a_terminal
from tests.commands import batchrun
from tests.export.test_export import harmless
from tests.hostile import ALL, harmless_ones, hostile_run, obeyed
from tests.reliability.table import Line
from tests.report.test_report import Tree

VERBS = [["show", "--limit", "10000"], ["show", "--json"], ["status"], ["status", "--json"], ["export"]]


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """All texts with `full`, else every fourth."""
    texts = ALL if full else ALL[::4]
    run = hostile_run(folder / "run", texts).path
    yield _terminals(run, len(texts))
    yield _cells(run, len(texts))
    yield _pages(folder, texts)


def _terminals(run: Path, texts: int) -> Line:
    found, crashed = 0, 0
    for verb, *options in VERBS:
        code, seen = here_on_a_terminal([verb, run, *options], run.parent)
        piped = batchrun(verb, run, *options, cwd=run.parent)
        crashed += bool(code) + bool(piped.code)
        found += len(obeyed(seen, terminal=True)) + len(obeyed(piped.out + piped.err, terminal=False))
    return Line(
        "hostile texts on a terminal",
        f"{texts} texts in every column, {len(VERBS)} commands, terminal and pipe",
        held=not found and not crashed,
        crashed=crashed,
        note=f"{found} characters that a terminal obeys or nobody sees",
    )


def _cells(run: Path, texts: int) -> Line:
    out = run.parent / "rows.csv"
    code = batchrun("export", run, "--out", out, cwd=run.parent).code
    with out.open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    found = sum(not harmless(cell) for cell in cells)
    return Line(
        "formulas in a CSV",
        f"{texts} texts, {len(cells):,} cells",
        held=not found and not code,
        crashed=int(bool(code)),
        note=f"{found} cells that a spreadsheet would run",
    )


def _pages(folder: Path, texts: list[str]) -> Line:
    trees = [
        [
            element
            for element in Tree(page(gather(run, sample=10_000), made="now").decode()).elements
            if element != "text"
        ]
        for run in (
            hostile_run(folder / "hostile", texts),
            hostile_run(folder / "harmless", harmless_ones(texts)),
        )
    ]
    same = trees[0] == trees[1]
    return Line(
        "hostile texts in a report",
        f"{len(texts)} texts in every column, {len(trees[0]):,} elements",
        held=same,
        note="the elements of harmless data" if same else "other elements than of harmless data",
    )
