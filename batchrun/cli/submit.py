"""`batchrun submit`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from batchrun.cli.options import as_json, environment, job_options


@click.command()
@job_options
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows now; the rest stays pending.")
@click.option("--rerun-changed", is_flag=True, help="Ask changed rows again, replacing their answers.")
@click.option("--keep-changed", is_flag=True, help="Keep changed rows' answers, marked stale.")
@click.option(
    "--retry-failed",
    is_flag=False,
    flag_value="all",
    metavar="[TYPE,…]",
    help="Ask failed rows again, all or those with these error types.",
)
@click.option("--drain", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Seconds for calls under way when stopped.")
@as_json
def command(
    job: Path,
    sets: tuple[str, ...],
    name: str | None,
    model: str | None,
    env_file: Path | None,
    limit: int | None,
    rerun_changed: bool,
    keep_changed: bool,
    retry_failed: str | None,
    drain: float,
    as_json: bool,
) -> int:
    """Bring the output of JOB up to date with its input.

    Run it again and it continues, or finds nothing to do.
    """
    from batchrun.cli.display import display
    from batchrun.submit import Options, submit

    env = environment(env_file)
    ...
