"""The job's checks for people: which hold, by what figures, and the rows that speak against the others."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from batchrun.checks.verdict import given, missed, sentence
from batchrun.cli.options import JobArguments
from batchrun.cli.terminal import fact
from batchrun.summary import CheckOutcome


def tell_checks(console: Console, checks: Sequence[CheckOutcome], *, pending: int) -> None:
    """A line for each check that the job gives; what it says while rows are pending is not decided yet."""
    for check in given(checks, pending=pending):
        style = "" if check.holds else "yellow" if pending else "red"
        fact(console, "check", sentence(check, pending=pending), style=style)
        if check.error:
            fact(console, "", check.error, style=style)


def rows_against(checks: Sequence[CheckOutcome], arguments: JobArguments) -> list[tuple[str, str]]:
    """The commands that show the rows because of which checks do not hold.

    Failed rows have a command of their own, whatever the checks are.
    """
    return [
        ("see why", arguments.again("show", "--where", check.where))
        for check in missed(checks)
        if check.where and check.name not in ("failed", "ok")
    ]
