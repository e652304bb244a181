"""Texts from the data in charts: names of models, values, errors, members. The library never reads them.

It would split what UTF-16 writes in two halves, and fail. So it is given short marks, and the texts take
their place in its drawing, where each is anchored at one end or in its middle.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from batchrun.wording import clean_line

FONT = 11
"""Size of all text in charts, in pixels."""

_NARROW = frozenset("fijlrtI.,:;'`|!()[]{}/\\ -")
_WIDE = frozenset("mwMW@%&…—")


class Label(str):
    """A text from the data, safe to look at, on one line, and short enough for its place."""

    __slots__ = ()


def label(text: str, width: int) -> Label:
    """A text from the data for a place of so many pixels."""
    return Label(_cut(clean_line(text).strip() or "(empty)", width / FONT))


def _cut(line: str, width: float) -> str:
    """As much of a line as is about so wide, in units of the font's size, as in a wide sans-serif font."""
    used, fits = 0.0, 0
    for place, char in enumerate(line):
        used += _width(char)
        if used > width:
            return f"{line[:fits].rstrip()}…"
        if used + 1 <= width:  # with what says that it was cut
            fits = place + 1
    return line


def _width(char: str) -> float:
    if unicodedata.combining(char):
        return 0.0
    if unicodedata.east_asian_width(char) in "WF":
        return 1.3
    if char in _NARROW:
        return 0.42
    return 1.0 if char in _WIDE else 0.64 if char.islower() or char.isdigit() else 0.75


class Marks:
    """Stand in for labels while the library draws."""

    def __init__(self) -> None:
        self._labels: dict[str, Label] = {}

    def instead(self, value: Any) -> Any:
        """A specification with a mark for each label in it."""
        if isinstance(value, dict):
            return {key: self.instead(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.instead(item) for item in value]
        if isinstance(value, Label):
            mark = f"#{len(self._labels)}"
            self._labels[mark] = value
            return mark
        return value

    def text(self, drawn: str) -> str:
        """What is meant by a text in the drawing."""
        return self._labels.get(drawn, drawn)
