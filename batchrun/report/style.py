"""How charts look: colours that stand for roles, which the page's style gives other colours in the dark."""

from __future__ import annotations

from batchrun.report.labels import FONT

SERIES = ("#1d5fbf", "#a8480a", "#6d3fa0")
"""Told apart with every kind of colour blindness; each has a contrast of 3 to the page (WCAG 1.4.11)."""

TEXT, FAINT, LINE = "#1c2024", "#5c6570", "#d9dde2"

CONFIG = {
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": FONT,
        "titleFontSize": FONT,
        "titleFontWeight": "normal",
        "labelColor": FAINT,
        "titleColor": FAINT,
        "gridColor": LINE,
        "domainColor": LINE,
        "tickColor": LINE,
        "titlePadding": 6,
    },
    "axisX": {"grid": False, "labelOverlap": "greedy", "labelSeparation": 12},
    "axisY": {"domain": False, "ticks": False},
    "legend": {
        "orient": "top",
        "title": None,
        "labelFontSize": FONT,
        "labelColor": FAINT,
        "symbolStrokeWidth": 2,
        "symbolSize": 80,
        "offset": 4,
    },
    "text": {"fontSize": FONT, "color": TEXT},
    "mark": {"invalid": "break-paths-show-path-domains"},
}

AREA = {
    "type": "area",
    "interpolate": "step-after",
    "color": SERIES[0],
    "fillOpacity": 0.3,
    "line": {"color": SERIES[0], "strokeWidth": 1.5},
}
