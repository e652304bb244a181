"""The table that the reliability suite prints: a line for each promise that was put to the test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

COLUMNS = ("test", "size", "lost", "duplicated", "re-paid", "hung", "crashed", "held")

_HELD = {True: "yes", False: "NO", None: "not run"}


@dataclass(frozen=True, slots=True)
class Line:
    """What one test saw. A count that a test does not look for is None."""

    test: str
    size: str
    """How much was tried: `1,000 kills in 12,000 rows`."""
    held: bool | None
    """Whether everything that batchrun promises here was so; None where nothing was tried."""
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
        return (self.test, self.size, *map(_count, counts), _HELD[self.held])


def not_run(test: str, why: str) -> Line:
    """The line of a test that this machine cannot run."""
    return Line(test, "0", held=None, note=f"{why}: not run")


def is_broken(lines: Iterable[Line]) -> bool:
    """Whether a promise was seen broken. What was not run says nothing."""
    return any(line.held is False for line in lines)


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def written(lines: Sequence[Line]) -> str:
    """The table in Markdown, which is also readable as it is; below it the notes, and what did not run."""
    rows = [COLUMNS, *(line.cells() for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *body = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    notes = [f"- {line.test}: {line.note}" for line in lines if line.note]
    return "\n".join([head, rule, *body, "", *notes, "", _ran(lines)]) + "\n"


def _ran(lines: Sequence[Line]) -> str:
    idle = [line.test for line in lines if line.held is None]
    if not idle:
        return "Every test ran."
    return f"{len(idle)} of {len(lines)} tests did not run: {', '.join(idle)}."
