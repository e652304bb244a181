"""What endpoints are known to answer, with the exact number of calls and the exact waits.

The table is `tests/policy/test_behaviours.py`, on a fake clock; here its lines are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.policy.test_behaviours import TABLE, test_each_behaviour_has_its_exact_calls_and_waits
from tests.reliability.table import Line


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """Every line of the table, at either size: it takes seconds."""
    wrong = []
    for number, case in enumerate(TABLE):
        place = folder / f"{number:03d}"
        place.mkdir()
        try:
            test_each_behaviour_has_its_exact_calls_and_waits(place, case)
        except AssertionError:
            wrong.append(case.name)
    note = "other calls, waits or endings: " + "; ".join(wrong) if wrong else "calls, waits and endings exact"
    yield Line("behaviours of endpoints", f"{len(TABLE)} behaviours", held=not wrong, note=note)
