"""`batchrun stored delete`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import as_json
from batchrun.cli.stored.arguments import StoredArguments, stored_options
from batchrun.cli.text import write_json
from batchrun.errors import EndpointError, UsageError
from batchrun.wording import clean_line, counted

if TYPE_CHECKING:
    from batchrun.stored import Deleted, Place

EXAMPLES = [
    ("One completion:", "batchrun stored delete job.yaml chatcmpl-123 --yes"),
    ("All of a job's run:", "batchrun stored delete job.yaml --run --yes"),
]

_NOUN = "stored completion"


@click.command(cls=Explained, short_help="Delete completions at their provider.", examples=EXAMPLES)
@stored_options("[ID]...")
@click.option("--run", "of_run", is_flag=True, help="All completions of JOB's run.")
@click.option("--yes", is_flag=True, help="Do not ask first. Needed where there is no terminal.")
@as_json
def command(
    arguments: StoredArguments, words: tuple[str, ...], of_run: bool, yes: bool, as_json: bool
) -> None:
    """Delete stored completions at their provider. The results of a run stay as they are.

    With --run those whose labels say that they are of this run, of whichever submit.
    """
    from batchrun.stored import delete

    if of_run == bool(words):
        raise UsageError(
            "which completions to delete is not said"
            if not words
            else "--run is for all of a run, without ids",
            hint="Name ids, or a job and --run: batchrun stored delete job.yaml --run",
        )
    place = arguments.place()
    ids = _ids_of_run(arguments, place) if of_run else list(dict.fromkeys(words))
    if ids and not yes and not _agreed(place, ids, as_json=as_json):
        click.echo("nothing is deleted", err=True)
        return
    done = delete(place, arguments.environment(), ids, lambda text: click.echo(text, err=True))
    if done.missing and not of_run:
        raise _missing(place, done)
    if as_json:
        write_json({"deleted": done.count, "missing": done.missing})
        return
    from batchrun.cli.terminal import headline, output

    with output() as console:
        headline(console, f"{counted(done.count, _NOUN)} deleted at {place.name}")


def _ids_of_run(arguments: StoredArguments, place: Place) -> list[str]:
    from batchrun.chat.stamps import RUN
    from batchrun.stored import Filters, chosen_ids

    filters = Filters(metadata={RUN: arguments.run_id()})
    return chosen_ids(place, arguments.environment(), filters)


def _agreed(place: Place, ids: list[str], *, as_json: bool) -> bool:
    """Whether the user says yes. Raises UsageError where nobody is there to be asked."""
    what = f"{counted(len(ids), _NOUN)} at {place.name}"
    if as_json or not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{what} would be deleted", hint="Add --yes: there is no terminal to ask on.")
    return click.confirm(clean_line(f"Delete {what}?"), err=True)


def _missing(place: Place, done: Deleted) -> EndpointError:
    first, *others = done.missing
    more = f" and {len(others):,} more" if others else ""
    return EndpointError(
        f"{place.name} has no stored completion {first}{more}; {counted(done.count, _NOUN)} deleted",
        hint="`batchrun stored list` says which there are.",
        exit_code=UsageError.exit_code,
    )
