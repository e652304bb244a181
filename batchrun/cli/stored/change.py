"""`batchrun stored update`."""

from __future__ import annotations

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import as_json
from batchrun.cli.stored.arguments import StoredArguments, one_word, stored_options
from batchrun.cli.text import write_json
from batchrun.errors import UsageError

EXAMPLES = [
    (
        "Label a completion; `--metadata reviewed=` would take the label away:",
        "batchrun stored update job.yaml chatcmpl-123 --metadata reviewed=yes",
    ),
    (
        "One label in place of all it has:",
        "batchrun stored update job.yaml chatcmpl-123 --metadata keep=yes --clear",
    ),
]


@click.command(cls=Explained, short_help="Change its labels.", examples=EXAMPLES)
@stored_options("ID")
@click.option(
    "--metadata",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set this label; with nothing after the equals sign, take it away.",
)
@click.option("--clear", is_flag=True, help="Take all other labels away, also those that batchrun put there.")
@as_json
def command(
    arguments: StoredArguments, words: tuple[str, ...], pairs: tuple[str, ...], clear: bool, as_json: bool
) -> None:
    """Change the labels (metadata) of a stored completion. Those that are not named stay.

    At most 16, of 64 characters and values of 512.
    """
    from batchrun.stored import Change, pairs_of, update

    completion_id = one_word(words, "ID")
    if not pairs and not clear:
        raise UsageError("nothing to change", hint="Add --metadata KEY=VALUE, or --clear.")
    change = Change(pairs_of(pairs), clear)
    found = update(arguments.place(), arguments.environment(), completion_id, change)
    if as_json:
        write_json(found)
        return
    from batchrun.cli.stored.drawn import draw_labels
    from batchrun.cli.terminal import headline, output

    with output() as console:
        headline(console, completion_id)
        draw_labels(console, found)
