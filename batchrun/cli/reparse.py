"""`batchrun reparse`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from batchrun.cli.going_on import going_on
from batchrun.cli.help import Explained
from batchrun.cli.memory import keep_memory_small
from batchrun.cli.options import JobArguments, as_json, job_options
from batchrun.cli.text import answer, shown_path
from batchrun.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from batchrun.reparsing import Reason, Reparsed

_LEFT = {
    "pending": "without an answer",
    "changed": "changed otherwise since they were answered",
    "stale": "with an older answer that is kept",
}


EXAMPLES = [
    (
        "After an edit of the schema: count what it makes of the answers, and write nothing:",
        "batchrun reparse job.yaml --dry-run",
    ),
    ("Read them by it, and publish the results:", "batchrun reparse job.yaml"),
]

EXIT_CODES = {
    "0": "done, and every check of the job holds (without `checks`: no row failed), or rows are pending",
    "1": "done, and a check does not hold",
    "5": "a submit is running on the run folder",
    "6": "more than the schema has changed: the answers are to another request",
}


@click.command(cls=Explained, examples=EXAMPLES, exit_codes=EXIT_CODES)
@job_options
@click.option("--dry-run", is_flag=True, help="Only say what it would come to. Nothing is written.")
@as_json
def command(arguments: JobArguments, dry_run: bool, as_json: bool) -> int:
    """Read the stored answers of JOB by its schema as it is now. Nothing is sent.

    For a schema that was edited, added or taken away. Each answer that fits makes its row ok, also where it
    failed by the schema before; one that does not makes it failed, and waits for `submit --retry-failed`.
    What the rows took stays as it was, and so do the older readings: taking the edit back costs nothing.
    """
    keep_memory_small()
    from batchrun.cli.progress import showing
    from batchrun.reparsing import preview, reparse

    job, env = arguments.load(), arguments.environment()
    with showing(as_json=as_json) as progress:
        found = (preview if dry_run else reparse)(job, env=env, progress=progress)
    code = found.summary.exit_code if found.summary else 0
    answer(found.document(), lambda console: _tell(console, found, arguments), as_json=as_json)
    return code


def _tell(console: Console, found: Reparsed, arguments: JobArguments) -> None:
    from batchrun.cli.checks import tell_checks
    from batchrun.cli.summary import row_counts
    from batchrun.cli.terminal import fact, headline

    headline(console, f"{found.name}: {_said(found)}")
    for label, text in _outcomes(found):
        fact(console, label, text)
    if found.done:
        fact(console, "left as is", f"{counted(found.done, 'row')} with an outcome by this schema")
    for reason in found.reasons:
        fact(console, "reason", _because(reason), style="red")
    if found.left:
        fact(console, "not read", ", ".join(_left(found.left)))
    if run := found.summary:
        fact(console, "the run now", row_counts(run.ok, run.failed, run.pending, run.stale))
        tell_checks(console, run.checks, pending=run.pending)
        if found.reread:
            fact(console, "results", shown_path(run.results), whole=True)
    for label, text in _next(found, arguments):
        fact(console, label, text, whole=True)


def _said(found: Reparsed) -> str:
    if not found.reread:
        return "nothing to do, no stored answer is of another schema"
    would = "would be read" if found.dry_run else "read"
    return f"{counted(found.reread, 'stored answer')} {would} by the new schema, without a call"


def _outcomes(found: Reparsed) -> Iterator[tuple[str, str]]:
    """How the rows that were read have gone."""
    for label, number, turned, before in (
        ("ok", found.ok, found.now_ok, "had failed"),
        ("failed", found.failed, found.now_failed, "was ok" if found.now_failed == 1 else "were ok"),
    ):
        ways = {"as before": number - turned, f"that {before}": turned}
        told = [f"{rows:,} {way}" for way, rows in ways.items() if rows]
        if len(told) == 1:
            yield label, counted(number, "row") + told[0].removeprefix(f"{number:,}")
        elif told:
            yield label, f"{counted(number, 'row')}: {', '.join(told)}"


def _because(reason: Reason) -> str:
    return f"{reason.rows:,} {reason.error_type}, for example {reason.row_id}: {reason.message[:300]}"


def _left(left: dict[str, int]) -> Iterator[str]:
    for kind, number in left.items():
        yield f"{counted(number, 'row')} {_LEFT.get(kind) or f'failed by {kind}, with no answer'}"


def _next(found: Reparsed, arguments: JobArguments) -> Iterator[tuple[str, str]]:
    """What the user most likely wants now, each with its command line."""
    if found.dry_run:
        if found.reread:
            yield "do it", arguments.again("reparse")
        return
    if found.failed:
        yield "see failed", arguments.again("show", "--failed")
        yield "edit again", f"{arguments.again('reparse')}  # once the schema is edited: no call"
        yield "ask again", arguments.again("submit", f"--retry-failed={','.join(found.errors)}")
    if found.summary and found.summary.pending:
        stop = found.summary.stopped_by
        yield "to go on", going_on(stop.kind if stop else None, stop.message if stop else "", arguments)
