"""The charts of a report: what each is called, what it says in words, and its specification."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from batchrun.report.calls import OverTime
from batchrun.report.figures import MOST_CALLS, SHARES, Distribution, Figures
from batchrun.report.labels import label
from batchrun.report.specs import (
    MOST_MARKS,
    Axis,
    Bar,
    Spec,
    Strip,
    bars,
    columns,
    lines,
    named_columns,
    steps,
    strips_over_time,
)
from batchrun.run_folder.results.totals import QUANTILES
from batchrun.wording import clock, counted, duration, usd

MOST = 12
"""Categories of one chart; the rest are drawn as one."""

MOST_ERRORS = 8
"""Errors over time, likewise."""

_READ = 500
"""Pixels of a name in a sentence."""

_UNITS = (
    ("ms", 0.001, 0.5),
    ("s", 1.0, 180.0),
    ("min", 60.0, 3 * 3600.0),
    ("h", 3600.0, 72 * 3600.0),
    ("days", 86400.0, float("inf")),
)
"""A unit of time, its seconds, and below how many seconds it is used."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, with its main figures in words, for those who do not see it too."""

    title: str
    says: str
    spec: Spec


def charts(found: Figures) -> Iterator[Chart]:
    """All charts that there is something to draw for."""
    if found.over_time:
        yield from _over_time(found.over_time)
    yield from _by_model(found)
    yield _calls(found)
    if len(found.reasons):
        rows = found.reasons.select(value="finish_reason", number="number")
        yield _categories("Finish reasons", rows, "row")
    for one in found.distributions:
        yield _distribution(one)
    if len(found.confidence):
        yield _confidence(found.confidence)


def pauses(found: Figures) -> str:
    """What the axis of time leaves out, as a sentence; empty where that is nothing."""
    times = found.over_time.timeline if found.over_time else None
    if times is None or not times.pauses:
        return ""
    number = counted(len(times.pauses), "pause")
    where = ", where the dashed lines are" if len(times.pauses) <= MOST_MARKS else ""
    return f"Left out of the time at work: {number}, {clock(times.paused)} in all{where}."


def _over_time(found: OverTime) -> Iterator[Chart]:
    table, axis = found.stretches, _axis(found)
    rate = (table["rows"] / found.seconds).to_list()
    rows, seconds = int(table["rows"].sum()), found.seconds * table.height
    says = f"{counted(rows, 'row')} in {duration(seconds)}: {_short(rows / seconds)} rows/s"
    says += f", at most {_short(max(rate))}"
    yield Chart("Throughput", says, steps(rate, title="rows/s", axis=axis))
    if table["p50"].count():
        yield _latency(table, axis)
    flying = table["in_flight"].to_list()
    says = f"{_short(sum(flying) / len(flying))} calls under way on average, at most {_short(max(flying))}"
    yield Chart("Concurrency", says, steps(flying, title="calls in flight", axis=axis))
    if len(found.errors):
        yield _errors(found, axis)


def _axis(found: OverTime) -> Axis:
    seconds = found.seconds * len(found.stretches)
    name, unit = next((name, unit) for name, unit, below in _UNITS if seconds < below)
    return Axis(f"time at work, {name}", seconds / unit, [place / unit for place in found.timeline.pauses])


def _latency(table: pl.DataFrame, axis: Axis) -> Chart:
    known = table.drop_nulls(list(QUANTILES))
    ends = {name: (min(known[name]), max(known[name])) for name in QUANTILES}
    says = ", ".join(f"{name} {_span(duration(low), duration(high))}" for name, (low, high) in ends.items())
    unit, factor = ("ms", 1000) if all(high < 0.1 for _, high in ends.values()) else ("s", 1)
    series = {name: (table[name] * factor).to_list() for name in QUANTILES}
    return Chart("Latency of answered calls", says, lines(series, title=unit, axis=axis))


def _errors(found: OverTime, axis: Axis) -> Chart:
    kinds = found.errors.group_by(value="error_type").agg(pl.col("number").sum())
    strips = []
    for names, number in _top(kinds, MOST_ERRORS):
        own = found.errors.filter(pl.col("error_type").is_in(names))
        by_bin = dict(own.group_by("bin").agg(pl.col("number").sum()).iter_rows())
        values = [by_bin.get(place, 0) / found.seconds for place in range(len(found.stretches))]
        strips.append(Strip(_name(names), f"{number:,}, at most {_short(max(values))}/s", values))
    number = int(kinds["number"].sum())
    says = f"{counted(number, 'call')} did not answer their row; each error to a scale of its own"
    return Chart("Failed calls by error", says, strips_over_time(strips, axis=axis))


def _by_model(found: Figures) -> Iterator[Chart]:
    tokens = found.tokens.select(
        "prompt", "completion", value="model", number=pl.col("prompt") + pl.col("completion")
    )
    if len(tokens):
        prompt, completion = int(tokens["prompt"].sum()), int(tokens["completion"].sum())
        shown = []
        for names, _number in _top(tokens):
            own = tokens.filter(pl.col("value").is_in(names))
            parts = float(own["prompt"].sum()), float(own["completion"].sum())
            shown.append(Bar(_name(names), parts, " + ".join(map(_short, parts))))
        says = f"{prompt:,} prompt + {completion:,} completion tokens"
        yield Chart("Tokens by model", says, bars(shown, names=["prompt", "completion"]))
    if len(found.costs):
        costs = found.costs.select(value="model", number="cost")
        shown = [Bar(_name(names), (number,), usd(number)) for names, number in _top(costs)]
        rows = int(found.costs["known"].sum())
        whole = usd(float(costs["number"].sum()))
        says = f"{whole} for {counted(rows, 'row')} whose cost is known, by the model that decided the row"
        yield Chart("Cost by model", says, bars(shown))


def _calls(found: Figures) -> Chart:
    by_calls = dict(found.calls.iter_rows())
    most = max(by_calls)
    bins = [
        (f"{n}+" if n == MOST_CALLS else str(n), by_calls.get(n, 0))
        for n in range(min(1, min(by_calls)), most + 1)
    ]
    again = sum(number for calls, number in by_calls.items() if calls > 1)
    says = f"{counted(found.rows, 'row')}, {again:,} of them with more than one call"
    return Chart("Attempts per row", says, named_columns(bins, title="calls", quantity="rows"))


def _categories(title: str, counts: pl.DataFrame, noun: str) -> Chart:
    total = int(counts["number"].sum())
    top = _top(counts)
    shown = [
        Bar(_name(names), (float(number),), f"{number:,} ({_percent(number, total)})")
        for names, number in top
    ]
    names, number = top[0]
    says = f"{counted(total, noun)}; most often ({_percent(number, total)}): {label(_name(names), _READ)}"
    return Chart(title, says, bars(shown))


def _distribution(found: Distribution) -> Chart:
    title = label(found.member.path or "the answer", _READ)
    if found.extremes is None:
        return _categories(title, found.counts, "value")
    low, high = (f"{end:,.6g}" for end in found.extremes)
    says = f"{counted(found.given, 'number')}: {_span(low, high)}"
    whole = found.member.is_whole
    return Chart(title, says, columns(found.counts.iter_rows(), title=title, quantity="rows", whole=whole))


def _confidence(counts: pl.DataFrame) -> Chart:
    total = int(counts["number"].sum())
    sure = int(counts.filter(pl.col("bin") >= 0.9 * SHARES)["number"].sum())
    says = f"{counted(total, 'row')}; {_percent(sure, total)} with a confidence of 0.9 or more"
    bins = counts.select(low=pl.col("bin") / SHARES, high=(pl.col("bin") + 1) / SHARES, number="number")
    return Chart(
        "Confidence",
        says,
        columns(bins.iter_rows(), title="probability of the answer", quantity="rows", ends=(0, 1)),
    )


def _top(counts: pl.DataFrame, most: int = MOST) -> list[tuple[list[str], Any]]:
    """Values and how many there are of each, the most frequent first; the last of many as one."""
    ordered = counts.sort(["number", "value"], descending=[True, False])
    shown = len(ordered) if len(ordered) <= most else most - 1
    found: list[tuple[list[str], Any]] = [
        ([value], number) for value, number in ordered.select("value", "number").head(shown).iter_rows()
    ]
    if rest := ordered["value"][shown:].to_list():
        found.append((rest, ordered["number"][shown:].sum()))
    return found


def _name(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{len(values):,} others"


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _percent(number: int, total: int) -> str:
    return f"{100 * number / total:.1f}%"


def _short(number: float) -> str:
    """A number in three digits or so: `0.25`, `17.3`, `482`, `12.3k`, `4.56M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{number:.3g}" if number < 100 else f"{number:,.0f}"
