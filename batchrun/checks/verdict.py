"""What came of a job's checks, in words: for the terminal, a step's page, the report."""

from __future__ import annotations

from collections.abc import Sequence

from batchrun.summary import CheckOutcome
from batchrun.wording import clean_line, counted


def given(checks: Sequence[CheckOutcome], *, pending: int = 0) -> list[CheckOutcome]:
    """The checks that say more than how many rows failed, which is said anyway.

    While rows are pending, one of no finished row says nothing yet, unless it cannot be counted.
    """
    told = (check for check in checks if check.rows or check.error or not pending)
    return [check for check in told if not check.is_default]


def missed(checks: Sequence[CheckOutcome]) -> list[CheckOutcome]:
    """Those of them that do not hold."""
    return [check for check in given(checks) if not check.holds]


def sentence(check: CheckOutcome, *, pending: int) -> str:
    """Whether a check holds, and by what figures, on one line; nothing that stands in the rows is in it."""
    return f"{_verdict(check, pending)}: {clean_line(check.name)}: {_figures(check, pending)}"


def _verdict(check: CheckOutcome, pending: int) -> str:
    if pending:
        return "would hold" if check.holds else "would not hold"
    return "holds" if check.holds else "does not hold"


def _figures(check: CheckOutcome, pending: int) -> str:
    if check.found is None:
        return f"cannot be counted, wanted {check.wanted}"
    found = f"{check.found:,} of {counted(check.rows, 'finished row' if pending else 'row')}"
    share = "" if check.share is None else f" ({_percent(check.share, check.rows)})"
    return f"{found}{share}, wanted {check.wanted}"


def _percent(share: float, rows: int) -> str:
    """A share of so many rows, exact enough to tell one row."""
    decimals = max(1, len(str(rows)) - 1)
    return f"{share * 100:.{decimals}f}".rstrip("0").rstrip(".") + "%"
