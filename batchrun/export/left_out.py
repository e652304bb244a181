"""Rows that an export leaves out: how many for which reason, and the first of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from batchrun.wording import counted

EXAMPLES = 5
"""Rows of one reason that are named."""


@dataclass(slots=True)
class LeftOut:
    """Counts the rows that were left out."""

    _counts: dict[str, int] = field(default_factory=dict)
    _examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, row: str) -> None:
        """Leave out `row`, which is named as people find it; `reason` is the same text for all alike."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(row)

    def lines(self) -> Iterator[str]:
        """For each reason a line, and after it one for each row that is named."""
        for reason, count in self._counts.items():
            yield f"{counted(count, 'row')} left out: {reason}"
            yield from (f"  {row}" for row in self._examples[reason])
            if more := count - len(self._examples[reason]):
                yield f"  and {more:,} more"

    def document(self) -> list[dict[str, Any]]:
        """The same as plain values."""
        return [
            {"reason": reason, "rows": count, "examples": self._examples[reason]}
            for reason, count in self._counts.items()
        ]
