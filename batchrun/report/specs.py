"""Vega-Lite specifications of the kinds of charts in a report, each with its data in it.

All are as wide as a phone: the page shows more of them side by side where there is room.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchrun.report.labels import label
from batchrun.report.style import AREA, CONFIG, FAINT, SERIES

Spec = dict[str, Any]

WIDTH = 336
HEIGHT = 168

_STROKES = {"legend": {"symbolType": "stroke"}}
_DASHES = ([1, 0], [6, 3], [2, 2])
_BLOCK = 34
"""Height of a category: its name, and its bar below, so that names may be long."""
_TITLE = 260
"""Width of an axis' title."""
MOST_MARKS = 24
"""Pauses that are marked: more would be a fence."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What a chart has along its bottom: its title with the unit, where it ends, and the places to mark."""

    title: str
    end: float
    marks: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A category: its name, its parts in the order of the series, and what is written beside its name."""

    name: str
    parts: tuple[float, ...]
    written: str


@dataclass(frozen=True, slots=True)
class Strip:
    """A quantity over time: its name, what is written beside it, and its value in each stretch."""

    name: str
    written: str
    values: Sequence[float]


def steps(values: Sequence[float], *, title: str, axis: Axis) -> Spec:
    """A quantity that has one value in each of some stretches of equal length, from 0 to the axis' end."""
    width = axis.end / len(values)
    data = [{"x": at * width, "y": value} for at, value in enumerate([*values, values[-1]])]
    area = {
        "data": {"values": data},
        "mark": AREA,
        "encoding": {"x": _time(axis), "y": _quantity(title)},
    }
    return _whole([area, *_marks(axis)], HEIGHT)


def lines(series: Mapping[str, Sequence[float | None]], *, title: str, axis: Axis) -> Spec:
    """Some quantities in the same stretches; None where one has no value."""
    data = [
        {"x": (at + 0.5) * axis.end / len(values), "y": value, "name": name}
        for name, values in series.items()
        for at, value in enumerate(values)
    ]
    few = max(map(len, series.values())) <= 20
    drawn = {
        "data": {"values": data},
        "mark": {"type": "line", "strokeWidth": 1.5, "point": {"size": 16, "filled": True} if few else False},
        "encoding": {
            "x": _time(axis),
            "y": _quantity(title),
            "color": {**_scaled("name", series, SERIES), **_STROKES},
            "strokeDash": {**_scaled("name", series, _DASHES), **_STROKES},
        },
    }
    return _whole([drawn, *_marks(axis)], HEIGHT)


def strips_over_time(strips: Sequence[Strip], *, axis: Axis) -> Spec:
    """Quantities in the same stretches, each in a row of its own and to a scale of its own; none is all 0."""
    data = []
    for row, strip in enumerate(strips):
        base, width, most = (row + 1) * _BLOCK - 4, axis.end / len(strip.values), max(strip.values)
        for at, value in enumerate([*strip.values, strip.values[-1]]):
            data.append({"x": at * width, "y": base - (_BLOCK - 22) * value / most, "base": base, "row": row})
    height = len(strips) * _BLOCK
    area = {
        "data": {"values": data},
        "mark": AREA,
        "encoding": {
            "x": _time(axis),
            "y": _down(height),
            "y2": {"field": "base"},
            "detail": {"field": "row"},
        },
    }
    names = _names([(strip.name, strip.written) for strip in strips], height, figures=180)
    return _whole([area, *_marks(axis), *names], height)


def bars(categories: Sequence[Bar], *, names: Sequence[str] = ()) -> Spec:
    """Categories with their names above their bars; `names` are those of several parts."""
    data = []
    for row, bar in enumerate(categories):
        start = 0.0
        for part, value in enumerate(bar.parts):
            top = row * _BLOCK + 18
            data.append({"x": start, "x2": start + value, "y": top, "y2": top + 10, "part": str(part)})
            start += value
    most = max(sum(bar.parts) for bar in categories) or 1.0
    height = len(categories) * _BLOCK
    parts = [str(part) for part in range(len(categories[0].parts))]
    color = _scaled("part", parts, SERIES)
    color["legend"] = (
        {"labelExpr": f"{list(names)!r}[+datum.label]", "symbolType": "square"} if names else None
    )
    drawn = {
        "data": {"values": data},
        "mark": {"type": "rect"},
        "encoding": {
            "x": {
                "field": "x",
                "type": "quantitative",
                "axis": None,
                "scale": {"domain": [0, most], "nice": False},
            },
            "x2": {"field": "x2"},
            "y": _down(height),
            "y2": {"field": "y2"},
            "color": color,
        },
    }
    return _whole([drawn, *_names([(bar.name, bar.written) for bar in categories], height)], height)


def columns(
    bins: Iterable[tuple[float, float, int]],
    *,
    title: str,
    quantity: str,
    whole: bool = False,
    ends: tuple[float, float] | None = None,
) -> Spec:
    """How many there are from a value to the next: a histogram, to `ends` or to its outermost bins."""
    found = list(bins)
    data = [
        {"x": low + (high - low) / 20, "x2": high - (high - low) / 20, "y": number}
        for low, high, number in found
    ]
    axis: Spec = {"title": label(title, _TITLE), "tickCount": 5}
    if whole:
        first, last = (math.floor(end + 0.5) for end in (found[0][0], found[-1][1]))
        axis |= {"format": ",d", **({"values": [*range(first, last)]} if last - first <= 12 else {})}
    domain = ends or (found[0][0], found[-1][1])
    scale = {"domain": list(domain), "zero": False, "nice": False}
    encoding = {
        "x": {"field": "x", "type": "quantitative", "axis": axis, "scale": scale},
        "x2": {"field": "x2"},
        "y": _quantity(quantity, whole=max(number for _, _, number in found)),
        "y2": {"datum": 0},
    }
    drawn = {"data": {"values": data}, "mark": {"type": "rect", "color": SERIES[0]}, "encoding": encoding}
    return _whole([drawn], HEIGHT)


def named_columns(named: Sequence[tuple[str, int]], *, title: str, quantity: str) -> Spec:
    """How many there are of each of some short names, in their order."""
    data = [{"x": name, "y": number, "written": f"{number:,}"} for name, number in named]
    axis = {"title": label(title, _TITLE), "labelAngle": 0}
    x = {"field": "x", "type": "ordinal", "sort": None, "axis": axis, "scale": {"paddingInner": 0.2}}
    y = _quantity(quantity, whole=max(number for _, number in named))
    drawn = {"mark": {"type": "bar", "color": SERIES[0], "width": {"band": min(1.0, len(data) / 6)}}}
    written = {
        "mark": {"type": "text", "dy": -6, "color": FAINT},
        "encoding": {"text": {"field": "written", "type": "nominal"}},
    }
    whole = _whole([drawn, written], HEIGHT)
    return whole | {"data": {"values": data}, "encoding": {"x": x, "y": y}}


def _whole(layers: list[Spec], height: int) -> Spec:
    return {
        "width": WIDTH,
        "height": height,
        "padding": 2,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "layer": layers,
        "config": CONFIG,
    }


def _time(axis: Axis) -> Spec:
    scale = {"domain": [0, axis.end], "nice": False}
    ticks = {"title": axis.title, "tickCount": 5}
    return {"field": "x", "type": "quantitative", "scale": scale, "axis": ticks}


def _quantity(title: str, *, whole: int | None = None) -> Spec:
    """An axis from 0; `whole` is the greatest of whole numbers."""
    axis: Spec = {"title": title, "tickCount": 4}
    if whole is not None:
        axis["labelExpr"] = f"format(datum.value, '{',d' if whole < 100_000 else '~s'}')"
        if whole <= 4:  # there would be ticks between
            axis["values"] = list(range(whole + 1))
    return {"field": "y", "type": "quantitative", "scale": {"zero": True}, "axis": axis}


def _down(height: int) -> Spec:
    """Pixels from the top."""
    scale = {"domain": [0, height], "reverse": True, "nice": False}
    return {"field": "y", "type": "quantitative", "scale": scale, "axis": None}


def _scaled(field: str, names: Iterable[str], values: Sequence[Any]) -> Spec:
    domain = list(names)
    return {
        "field": field,
        "type": "nominal",
        "scale": {"domain": domain, "range": list(values[: len(domain)])},
    }


def _marks(axis: Axis) -> list[Spec]:
    """Dashed lines where the run paused."""
    if not axis.marks or len(axis.marks) > MOST_MARKS:
        return []
    data = [{"x": mark} for mark in axis.marks]
    rule = {"type": "rule", "color": FAINT, "strokeDash": [3, 3]}
    return [
        {"data": {"values": data}, "mark": rule, "encoding": {"x": {"field": "x", "type": "quantitative"}}}
    ]


def _names(written: Sequence[tuple[str, str]], height: int, figures: int = 130) -> list[Spec]:
    """A name on the left and a figure on the right, above each block; `figures` is how wide one may be."""
    room = WIDTH - figures - 10
    data = [
        {"y": row * _BLOCK + 9, "name": label(name, room), "figure": figure}
        for row, (name, figure) in enumerate(written)
    ]
    places: list[tuple[str, Spec, int]] = [
        ("name", {"align": "left"}, 0),
        ("figure", {"align": "right", "color": FAINT}, WIDTH - 4),
    ]
    return [
        {
            "data": {"values": data},
            "mark": {"type": "text", "baseline": "middle", **look},
            "encoding": {
                "x": {"value": x},
                "y": _down(height),
                "text": {"field": field, "type": "nominal"},
            },
        }
        for field, look, x in places
    ]
