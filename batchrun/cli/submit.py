"""`batchrun submit`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import click

from batchrun.cli.memory import keep_memory_small
from batchrun.cli.options import (
    TYPES,
    JobArguments,
    OptionalValues,
    as_json,
    at_most,
    error_types,
    job_options,
)
from batchrun.cli.text import write_json
from batchrun.errors import UsageError

EXAMPLES = [
    (
        "Ask for every row that has no answer yet; after a stop the same command goes on:",
        "batchrun submit job.yaml",
    ),
    (
        "Try ten rows first; `plan` then tells the price of the rest from them:",
        "batchrun submit job.yaml --limit 10",
    ),
    (
        "Another model, with a run folder of its own, to compare the two:",
        "batchrun submit job.yaml --name large --model openai/gpt-4.1",
    ),
    (
        "Ask again for the rows that were refused, and only for those, at another model:",
        "batchrun submit job.yaml --retry-failed=refusal --model openai/gpt-4.1",
    ),
]

EXIT_CODES = {
    "0": "finished, and every check holds (without `checks`: no row failed); or ended by --limit, --no-wait",
    "1": "finished, and a check does not hold",
    "2": "the command or the job file is wrong",
    "3": "stopped early, can be continued: budget, wall time, too many failures, no model left, disk",
    "4": "the endpoint refused the key or the model",
    "5": "another submit is running on the run folder",
    "6": "finished rows would be paid for again: choose --rerun-changed, --keep-changed or --name",
    "70": "a bug in batchrun",
    "130, 143": "interrupted by Ctrl-C or SIGTERM, can be continued",
}


@click.command(cls=OptionalValues, examples=EXAMPLES, exit_codes=EXIT_CODES)
@job_options
@at_most(help="At most N rows now; the rest stays pending.")
@click.option("--rerun-changed", is_flag=True, help="Ask changed rows again, replacing their answers.")
@click.option("--keep-changed", is_flag=True, help="Keep the answers of changed rows, marked stale.")
@click.option(
    "--retry-failed",
    metavar=TYPES,
    help="Ask failed rows again: all, or those with these error types. With --model, they alone go there.",
)
@click.option(
    "--drain",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long calls under way may take when the run is stopped.",
)
@click.option(
    "--wait/--no-wait",
    default=True,
    help="Wait for batches that are with a provider, or let a later submit fetch them.",
)
@click.option(
    "--batch",
    "batches",
    multiple=True,
    metavar="NAME=ID",
    help="Which of the provider's batches NAME is, where submit asks for that; NAME=none for none of them.",
)
@as_json
def command(
    arguments: JobArguments,
    limit: int | None,
    rerun_changed: bool,
    keep_changed: bool,
    retry_failed: str | None,
    drain: float,
    wait: bool,
    batches: tuple[str, ...],
    as_json: bool,
) -> int:
    """Bring the output of JOB up to date with its input.

    JOB is a job file; `batchrun init` writes one. Run it again and it continues, or finds nothing to do:
    what was received is kept, whatever ends the process.

    A first Ctrl-C stops sending and waits for the calls under way, a second one stops at once.
    """
    keep_memory_small()
    from batchrun.cli.progress import showing
    from batchrun.cli.step_summary import append_summary
    from batchrun.cli.summary import tell
    from batchrun.outcome import RETRYABLE
    from batchrun.submitting.options import Options
    from batchrun.submitting.submit import submit

    options = Options(
        rerun_changed=rerun_changed,
        keep_changed=keep_changed,
        retry_failed=error_types(retry_failed, "--retry-failed", RETRYABLE),
        limit=limit,
        drain=drain,
        wait=wait,
        batches=_given(batches),
    )
    job, retry_model = arguments.load_to_submit(retrying=retry_failed is not None)
    options = replace(options, retry_model=retry_model)
    with showing(as_json=as_json) as progress:
        summary = submit(job, options, env=arguments.environment(), progress=progress)
    append_summary(summary)
    if not as_json:
        shell = replace(arguments, model=None) if retry_model else arguments  # that model is for failed rows
        tell(summary, shell, job.output_path / "results", rerun_changed=rerun_changed)
        return summary.exit_code
    with suppress(BrokenPipeError):  # the exit code counts more than a reader that has gone
        write_json(summary.document())
    return summary.exit_code


def _given(batches: tuple[str, ...]) -> dict[str, str]:
    """What became of batches by their names."""
    found = {}
    for text in batches:
        name, _, said = text.partition("=")
        if not name or not said:
            raise UsageError(
                f"--batch {text}: is no NAME=ID",
                hint="Write the name that `batchrun status` shows, and the provider's id: NAME=ID.",
            )
        found[name] = said
    return found
