"""`batchrun diff`."""

from __future__ import annotations

from pathlib import Path

import click

from batchrun.cli.help import Explained
from batchrun.cli.memory import keep_memory_small
from batchrun.cli.options import JobArguments, as_json, at_most, out_file, runs_options
from batchrun.cli.text import answer, shown_path
from batchrun.export import TABLES, named_by, replacing
from batchrun.wording import clean_line, counted, listed

EXAMPLES = [
    ("Another model, and what it changes:", "batchrun diff job.yaml runs/large"),
    (
        "How often each is right, by a column of the input with the right answers:",
        "batchrun diff job.yaml runs/large --field parsed.label --truth gold_label",
    ),
    ("All rows side by side, as a table:", "batchrun diff runs/job runs/large --out side-by-side.parquet"),
]


@click.command(cls=Explained, examples=EXAMPLES)
@runs_options
@click.option("--field", metavar="PATH", help="Compare this member of the results: parsed.label")
@click.option("--truth", metavar="COLUMN", help="The column of the input that holds the right answers.")
@at_most(type=click.IntRange(min=0), default=5, show_default=True, help="At most so many examples.")
@out_file(help=f"Write all rows side by side: {listed([one.suffixes[0] for one in TABLES.values()], 'or')}.")
@as_json
def command(
    jobs: list[JobArguments],
    field: str | None,
    truth: str | None,
    limit: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare runs by the ids of their rows: of job files, or in run folders. The first is the base.

    Says which answers changed, how far the runs agree, and what they cost and took. What is compared is
    `parsed` where every run has it, else `completion`, or --field; the rows are those that are ok in both.

    `batchrun submit job.yaml --name large --model openai/gpt-4.1` makes a run to compare with.

    With --truth, says how often each run is right: texts must be equal to the letter, and a failed row
    counts as wrong. --out has a column for each run: status@large, label@large.

    Also what a running or a killed submit has received and not published yet.
    """
    keep_memory_small()
    from batchrun.cli.comparison import tell
    from batchrun.diff import diff

    form = TABLES[named_by(out)] if out else None
    runs = [arguments.run() for arguments in jobs]
    if out:
        from batchrun.cli.reads import require_apart  # reads jobs, which nothing else here does

        for run, arguments in zip(runs, jobs, strict=True):
            require_apart(out, run, arguments)
    found = diff(runs, field=field, truth=truth, limit=limit)
    if out and form:
        with replacing(out) as sink:
            form.writer().write(found.table.schema(), found.table.pieces(), sink)
    document = {**found.document(), "out": None if out is None else str(out)}
    answer(document, lambda console: tell(console, found), as_json=as_json)
    if as_json:
        return
    if 0 < len(found.examples) < found.rows_changed:
        rows = counted(found.rows_changed, "row")
        click.echo(f"{len(found.examples):,} of {rows} that differ; --limit shows more", err=True)
    if out:
        rows = counted(found.rows_in_all + found.rows_in_some, "row")
        click.echo(clean_line(f"{rows} in {shown_path(out)}"), err=True)
