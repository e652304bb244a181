"""Charts as SVG, drawn by vl-convert: Vega-Lite without a browser and without a network.

It takes plain specifications, so altair, which would write them, is not needed. It needs 84 MB of disk, 0.3 s
for the first chart and 0.03 s for each further one; it reads the system's fonts, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from batchrun.report.labels import Marks
from batchrun.report.specs import Spec

MISSING = "without charts: vl-convert-python, which draws them, is not installed here"

_VEGA_LITE = "5.20"
_SVG = "{http://www.w3.org/2000/svg}"
_SHAPES = frozenset({"g", "path", "line", "rect", "text"})
_PLACE = frozenset({"transform", "d", "x", "y", "x1", "y1", "x2", "y2", "width", "height"})
_LOOK = frozenset({"fill", "fill-opacity", "opacity", "text-anchor", "font-size"})
_STROKE = frozenset({"stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linejoin"})
_ATTRIBUTES = _PLACE | _LOOK | _STROKE


def drawer() -> Callable[[Spec, str], str] | None:
    """Draws a specification with what a screen reader says of it; None where vl-convert is not installed."""
    try:
        from vl_convert import vegalite_to_svg
    except ImportError:  # no wheel for this platform, or a library that it needs is too old
        return None

    def draw(spec: Spec, says: str) -> str:
        marks = Marks()
        return _inline(vegalite_to_svg(marks.instead(spec), vl_version=_VEGA_LITE), says, marks)

    return draw


def _inline(svg: str, says: str, marks: Marks) -> str:
    """A drawing for a page: shapes and texts alone, so that nothing in it acts or has a style."""
    root = ElementTree.fromstring(svg)
    size = root.get("viewBox")
    inside = "".join(_element(element, marks) for element in root)
    named = f'role="img" aria-label={quoteattr(says)}'
    return f'<svg viewBox="{size}" width="{root.get("width")}" {named}>{inside}</svg>'


def _element(element: ElementTree.Element, marks: Marks) -> str:
    name = element.tag.removeprefix(_SVG)
    if name not in _SHAPES or element.get("display") == "none" or element.get("d") == "":
        return ""
    if element.get("class") == "background":
        return ""
    if name == "text":
        inside = escape(marks.text(element.text or ""))
    else:
        inside = "".join(_element(part, marks) for part in element)
    if not inside and name in ("g", "text"):
        return ""
    attributes = "".join(
        f" {key}={quoteattr(value)}" for key, value in element.items() if key in _ATTRIBUTES and value
    )
    return f"<{name}{attributes}>{inside}</{name}>" if inside else f"<{name}{attributes}/>"
