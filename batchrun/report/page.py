"""A report as HTML: all data escaped, and a policy that lets nothing act but its own style and script."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import fields
from importlib.resources import files

import minijinja

from batchrun.report.drawing import MISSING, drawer
from batchrun.report.gathered import Gathered


def page(found: Gathered, *, made: str) -> bytes:
    """The whole page, in UTF-8; `made` says when and by what it was made.

    Charts are inline SVG, and left out where vl-convert is not installed. Data stands in texts and attribute
    values alone. The Content-Security-Policy (W3C CSP Level 3) lets the style and the script of this package
    run, by their hashes, and nothing be loaded.
    """
    here = files("batchrun.report")
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = minijinja.Environment(
        templates={"page.html": (here / "page.html").read_text(encoding="utf-8")},
        auto_escape_callback=lambda _name: True,
        undefined_behavior="strict",
    )
    return environment.render_template(
        "page.html",
        **{field.name: getattr(found, field.name) for field in fields(found)},
        drawings=_drawings(found),
        missing=MISSING,
        made=made,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    ).encode()


def _drawings(found: Gathered) -> list[str] | None:
    """Each chart as an element of the page, all data in it escaped; None where they cannot be drawn here."""
    draw = drawer() if found.charts else None
    return [draw(chart.spec, f"{chart.title}: {chart.says}") for chart in found.charts] if draw else None


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
