"""Annotations of an answer for which the web was searched. Pure."""

from __future__ import annotations

from typing import Any

from batchrun.simulator.making.draws import numbers
from batchrun.simulator.making.vocabulary import WORDS


def citations(text: str, *draw: object) -> list[dict[str, Any]]:
    """One `url_citation` of the first sentence; its indices are characters of `text`."""
    if not text:
        return []
    number = numbers(1, "citation", *draw)[0]
    word = WORDS[number % len(WORDS)]
    cited = {
        "start_index": 0,
        "end_index": text.find(".") + 1 or len(text),
        "url": f"https://example.com/{word}/{number}",
        "title": f"About {word}",
    }
    return [{"type": "url_citation", "url_citation": cited}]
