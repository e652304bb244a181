"""`batchrun stored list`, `get` and `messages`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import as_json, at_most
from batchrun.cli.stored.arguments import (
    FilterArguments,
    StoredArguments,
    filter_options,
    no_word,
    one_word,
    stored_options,
)
from batchrun.cli.text import wrapped, write_json
from batchrun.wording import clean_line

if TYPE_CHECKING:
    from batchrun.stored.api import Document

LIMIT = 20


@click.command(
    cls=Explained,
    short_help="List stored completions.",
    examples=[
        ("Those of a job's run:", "batchrun stored list job.yaml"),
        (
            "The newest that a model gave, whoever asked for them:",
            "batchrun stored list --endpoint openai --model gpt-4.1-mini --order desc",
        ),
        (
            "Those with a label, as lines of JSON:",
            "batchrun stored list job.yaml --all --metadata topic=billing --json",
        ),
    ],
)
@stored_options("")
@filter_options
@at_most(default=LIMIT, show_default=True, help="At most so many.")
@as_json
def list_command(
    arguments: StoredArguments,
    words: tuple[str, ...],
    chosen: FilterArguments,
    limit: int,
    as_json: bool,
) -> None:
    """List stored completions: id, time, model, row and how the answer begins.

    With JOB those of its run, which are known by their labels; --all lists those of others, too. With --json,
    a line of JSON for each, as the provider gives it.
    """
    from batchrun.cli.stored.drawn import draw_list
    from batchrun.cli.terminal import output
    from batchrun.stored import list_pages

    no_word(words)
    place, filters = arguments.place(), chosen.filters(arguments)
    last = ""

    def take(page: list[Document]) -> None:
        nonlocal last
        last = page[-1]["id"] if page else last
        if as_json:
            _write_lines(page)
        elif page:
            with output() as console:
                draw_list(console, place, page)

    count = list_pages(place, arguments.environment(), filters, limit, take)
    if not as_json:
        own = arguments.job is not None and not chosen.of_all
        _say_how_many(count, limit, last, own=own)


def _say_how_many(count: int, limit: int, last: str, *, own: bool) -> None:
    if not count:
        more = " of this run; --all lists those of others, too" if own else ""
        click.echo(f"no stored completion{more or ' fits'}", err=True)
    elif count == limit:
        said = f"{count:,} shown, there may be more: --limit N lists so many, --after {last} goes on"
        click.echo(wrapped(clean_line(said), sys.stderr), err=True)


@click.command(
    cls=Explained,
    short_help="Show one completion.",
    examples=[
        ("One completion, whole:", "batchrun stored get job.yaml chatcmpl-123"),
        ("As JSON, from an endpoint:", "batchrun stored get chatcmpl-123 --endpoint openai --json"),
    ],
)
@stored_options("ID")
@as_json
def get_command(arguments: StoredArguments, words: tuple[str, ...], as_json: bool) -> None:
    """Show a stored completion: its answer, what it took, and its labels."""
    from batchrun.stored import get

    completion_id = one_word(words, "ID")
    place = arguments.place()
    found = get(place, arguments.environment(), completion_id)
    if as_json:
        write_json(found)
        return
    from batchrun.cli.stored.drawn import draw_completion
    from batchrun.cli.terminal import output

    with output() as console:
        draw_completion(console, place, found)


@click.command(
    cls=Explained,
    short_help="Show the messages that it answers.",
    examples=[
        ("What was asked for a completion:", "batchrun stored messages job.yaml chatcmpl-123"),
        ("As lines of JSON:", "batchrun stored messages chatcmpl-123 --endpoint openai --json"),
    ],
)
@stored_options("ID")
@click.option("--order", type=click.Choice(["asc", "desc"]), help="As they were said, or the last first.")
@as_json
def messages_command(
    arguments: StoredArguments, words: tuple[str, ...], order: str | None, as_json: bool
) -> None:
    """Show the messages that a stored completion answers."""
    from batchrun.cli.stored.drawn import draw_messages
    from batchrun.cli.terminal import output
    from batchrun.stored import messages

    completion_id = one_word(words, "ID")

    def take(page: list[Document]) -> None:
        if as_json:
            _write_lines(page)
            return
        with output() as console:
            draw_messages(console, page)

    messages(arguments.place(), arguments.environment(), completion_id, order, take)


def _write_lines(documents: list[dict[str, Any]]) -> None:
    for document in documents:
        write_json(document)
