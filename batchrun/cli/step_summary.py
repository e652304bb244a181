"""A submit's summary on the page of a GitHub Actions job, where one runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from batchrun.checks.verdict import given, sentence
from batchrun.cli.failures import REMEDIES
from batchrun.cli.summary import by_batches, money, row_counts
from batchrun.summary import Summary
from batchrun.wording import clean_line, counted, duration, tokens_of

VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file that a step may append Markdown to (GitHub's documentation, "Adding a job summary")."""

_MARKUP = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_{}[]()<>#+!|~&@"})


def append_summary(summary: Summary) -> None:
    """Append a table to the file that the variable names, if it does; one that cannot be written is told."""
    if not (path := os.environ.get(VARIABLE)):
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(markdown(summary))
    except OSError as error:
        click.echo(clean_line(f"cannot write the step summary to {path}: {error.strerror}"), err=True)


def markdown(summary: Summary) -> str:
    """A heading and a table. Nothing that a model or a server said is in it, and no name acts as markup."""
    lines = [f"### batchrun: {_plain(summary.name)} {summary.state}", "", "| | |", "|---|---|"]
    lines += [f"| {label} | {_plain(text)} |" for label, text in _facts(summary)]
    return "\n".join(lines) + "\n\n"


def _facts(summary: Summary) -> Iterator[tuple[str, str]]:
    yield "rows", row_counts(summary.ok, summary.failed, summary.pending, summary.stale)
    if summary.stopped_by:
        yield "stopped by", summary.stopped_by.kind
    for label, text in by_batches(summary):
        yield label or "batches", text
    for kind, number in summary.errors.items():
        yield "failed", f"{number:,} {kind}: {REMEDIES[kind]}" if kind in REMEDIES else f"{number:,} {kind}"
    for check in given(summary.checks, pending=summary.pending):
        yield "check", sentence(check, pending=summary.pending)
    if tokens := tokens_of(summary.usage):
        yield "tokens", tokens
    if cost := money(summary):
        yield "cost", cost
    done = summary.submit
    rows, calls = counted(done["rows"], "row"), counted(done["calls"], "call")
    yield "this time", f"{rows} in {duration(done['seconds'])}, {calls}"
    yield "exit code", str(summary.exit_code)


def _plain(text: str) -> str:
    return clean_line(text).translate(_MARKUP)
