"""The table that the reliability suite prints: a line for each promise that was put to the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

COLUMNS = ("test", "size", "lost", "duplicated", "re-paid", "hung", "crashed", "held")


@dataclass(frozen=True, slots=True)
class Line:
    """What one test saw. A count that a test does not look for is None."""

    test: str
    size: str
    """How much was tried: `1,000 kills in 12,000 rows`."""
    held: bool
    """Whether everything that batchrun promises here was so."""
    lost: int | None = None
    """Rows whose answer was in the journal and is not in the results."""
    duplicated: int | None = None
    """Rows that the results hold more than once."""
    repaid: int | None = None
    """Calls for a row whose answer the journal held."""
    hung: int | None = None
    """Runs or calls that went on after their deadline."""
    crashed: int | None = None
    """Commands that ended by a traceback, or with an exit code that their cause does not have."""
    note: str = ""
    """What else was seen, with its numbers; where a promise was broken, how."""

    def cells(self) -> tuple[str, ...]:
        """The line by COLUMNS."""
        counts = (self.lost, self.duplicated, self.repaid, self.hung, self.crashed)
        return (self.test, self.size, *map(_count, counts), "yes" if self.held else "NO")


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def written(lines: Sequence[Line]) -> str:
    """The table in Markdown, which is also readable as it is; the notes below it."""
    rows = [COLUMNS, *(line.cells() for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *body = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    notes = [f"- {line.test}: {line.note}" for line in lines if line.note]
    return "\n".join([head, rule, *body, "", *notes]) + "\n"
