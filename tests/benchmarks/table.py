"""Tables in Markdown, which are also readable as they are, and the figures in them."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Iterable, Sequence


def written(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The table, its numbers aligned to the right; the first column to the left."""
    cells = [tuple(columns), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    head, *body = [_line(row, widths) for row in cells]
    rule = (
        "|" + "|".join("-" * (width + 1) + ("-" if not at else ":") for at, width in enumerate(widths)) + "|"
    )
    return "\n".join([head, rule, *body]) + "\n"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(row, widths, strict=True)
    cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
    return "| " + " | ".join(cells) + " |"


def headed(command: str, *about: str) -> str:
    """The line above a table: when, how and on what it was measured."""
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    return ", ".join([time.strftime("%Y-%m-%d"), f"`{command}`", machine, *about]) + "\n\n"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios ours/theirs, round by round: what slows a round down slows both.

    Raises ValueError where the numbers of rounds differ.
    """
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def times(factor: float) -> str:
    """A ratio as a text."""
    return f"{factor:.2f}x"
