"""`batchrun stored export`."""

from __future__ import annotations

from pathlib import Path

import click

from batchrun.cli.help import Explained
from batchrun.cli.memory import keep_memory_small
from batchrun.cli.options import as_json, at_most
from batchrun.cli.stored.arguments import (
    FilterArguments,
    StoredArguments,
    filter_options,
    one_word,
    stored_options,
)
from batchrun.cli.text import shown_path, write_json
from batchrun.errors import UsageError
from batchrun.wording import clean_line, counted

EXAMPLES = [
    ("Those of a job's run, read by the job's schema:", "batchrun stored export job.yaml stored.parquet"),
    (
        "All that a model gave, of an endpoint:",
        "batchrun stored export stored.parquet --endpoint openai --model gpt-4.1-mini",
    ),
]


@click.command(cls=Explained, short_help="Write them as Parquet, like results.", examples=EXAMPLES)
@stored_options("OUT.parquet")
@filter_options
@at_most(help="At most so many. Default: all")
@as_json
def command(
    arguments: StoredArguments,
    words: tuple[str, ...],
    chosen: FilterArguments,
    limit: int | None,
    as_json: bool,
) -> None:
    """Write stored completions as a Parquet file with the columns of a run's results, and `metadata`.

    With JOB those of its run; --all takes those of others, too. The job's schema reads them. `row_id` is the
    row that a completion is of, or else its own id: a row that was asked again has several. What the provider
    does not keep (latency, attempts) is null.
    """
    keep_memory_small()
    from batchrun.stored.export import export

    out = Path(one_word(words, "OUT.parquet"))
    if out.suffix.lower() != ".parquet":
        raise UsageError(
            f"{out}: stored completions are written as Parquet", hint="Name a file that ends in .parquet."
        )
    place, filters = arguments.place(), chosen.filters(arguments)
    _require_apart(out, arguments)
    rows = export(place, arguments.environment(), filters, limit, out, _say)
    if as_json:
        write_json({"rows": rows, "out": str(out)})
        return
    click.echo(clean_line(f"{counted(rows, 'row')} in {shown_path(out)}"), err=True)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _require_apart(out: Path, arguments: StoredArguments) -> None:
    """Nothing that a submit of the job reads is written over, nor anything in a run folder."""
    from batchrun.cli.reads import require_apart, require_outside_runs
    from batchrun.run_folder.folder import RunFolder

    if arguments.job is None:
        require_outside_runs(out)
        return
    _place, folder = arguments.job.place()
    require_apart(out, RunFolder(folder), arguments.job)
