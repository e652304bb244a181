"""`batchrun cancel`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import JobArguments, as_json, job_options
from batchrun.cli.text import answer
from batchrun.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from batchrun.cancelling import Ended

EXAMPLES = [
    ("Say which batches would be ended, and change nothing:", "batchrun cancel job.yaml"),
    ("End them:", "batchrun cancel job.yaml --yes"),
]

EXIT_CODES = {
    "0": "none is left that goes on, or nothing was to be done",
    "2": "the command, the job file or a key is wrong",
    "3": "a provider was not reached, does not know a batch, or would not end it: say it again later",
    "5": "a submit is running on the run folder: stop it first",
}


@click.command(cls=Explained, examples=EXAMPLES, exit_codes=EXIT_CODES)
@job_options
@click.option("--yes", is_flag=True, help="Do it. Without this, only say what would be ended.")
@as_json
def command(arguments: JobArguments, yes: bool, as_json: bool) -> int:
    """End the batches of JOB that are with a provider (engine.kind: provider_batch).

    What they have answered by then is paid for, and is fetched by the next submit, which asks for the other
    rows again.
    """
    from batchrun.cancelling import cancel, standing

    job = arguments.load()
    work = cancel if yes else standing
    ended = work(job, arguments.environment(), say=lambda text: click.echo(text, err=True))
    code = 0 if all(one.is_well for one in ended) else 3
    batches = [{**asdict(one.batch), "came": one.came, "reason": one.reason} for one in ended]
    answer(
        {"batches": batches, "done": yes, "exit_code": code},
        lambda console: _tell(console, ended, arguments, job.name, done=yes),
        as_json=as_json,
    )
    return code


def _tell(
    console: Console, ended: Sequence[Ended], arguments: JobArguments, name: str, *, done: bool
) -> None:
    from batchrun.cli.batches import line
    from batchrun.cli.terminal import fact, headline

    if not ended:
        headline(console, f"{name}: no batch is with a provider")
        return
    open_ = [one for one in ended if one.came == ("cancelled" if done else "untouched")]
    headline(console, f"{name}: {_said(open_, ended, done=done)}")
    now = time.time()
    for one in ended:
        fact(console, one.came if done and not one.is_well else "", line(one.batch, now))
        if one.reason:
            fact(console, "", one.reason, style="yellow")
    if open_ and not done:
        fact(console, "", "nothing is changed yet")
        fact(console, "to end them", arguments.again("cancel", "--yes"), whole=True)
    elif any(one.batch.batch_id for one in ended):
        fact(console, "", "what they have answered by their end is paid for, and the next submit fetches it")
        fact(console, "to fetch", arguments.again("submit"), whole=True)


def _said(open_: Sequence[Ended], ended: Sequence[Ended], *, done: bool) -> str:
    """What was cancelled, or would be."""
    if all(one.came == "over" for one in ended):
        return f"nothing to cancel, {_are(len(ended))} over"
    rows = counted(sum(one.batch.rows for one in open_), "row")
    verb = "cancelled" if done else "would be cancelled"
    return f"{counted(len(open_), 'batch')} with {rows} {verb}"


def _are(number: int) -> str:
    return "the 1 batch is" if number == 1 else f"all {number:,} batches are"
