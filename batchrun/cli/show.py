"""`batchrun show`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from batchrun.cli.options import (
    TYPES,
    JobArguments,
    OptionalValues,
    as_json,
    at_most,
    error_types,
    run_options,
)
from batchrun.cli.pager import user_pager, write_long
from batchrun.cli.text import write_json
from batchrun.errors import UsageError
from batchrun.wording import clean, clean_line, counted, spelled

if TYPE_CHECKING:
    from rich.console import Console

    from batchrun.show.conversation import Turn
    from batchrun.show.show import Chosen

LIMIT = 20
_LONGEST = 2_000
"""Characters of a text that are shown when many rows are."""

_AT_ONCE = 100
"""Rows held at once: they may carry audio."""

_STYLES = {"text": "", "note": "dim", "error": "red"}


EXAMPLES = [
    ("The rows that failed, with the error of each:", "batchrun show job.yaml --failed"),
    (
        "Five rows by chance, only the id and the answer:",
        "batchrun show job.yaml --sample 5 --columns row_id,parsed.label",
    ),
    ("One row, whole:", "batchrun show job.yaml T-0007"),
    (
        "The rows that an SQL condition holds for:",
        "batchrun show job.yaml --where \"parsed.label = 'billing' AND latency > 0.1\"",
    ),
]


@click.command(cls=OptionalValues, examples=EXAMPLES)
@run_options
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--where", metavar="SQL", help="Rows for which this holds: \"status = 'ok' AND latency > 2\"")
@click.option("--failed", metavar=TYPES, help="Failed rows: all, or those with these error types.")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="N rows drawn among those that fit.")
@click.option("--seed", type=int, metavar="N", help="Another one draws another sample. Default: 0")
@click.option("--columns", metavar="A,B,…", help="Show these columns instead, or members: parsed.label.")
@at_most(help=f"At most so many rows. Default: {LIMIT}; all in a pager, with --json and with --sample")
@click.option("--no-pager", is_flag=True, help="Write to the terminal, also what is longer than it.")
@as_json
def command(
    arguments: JobArguments,
    ids: tuple[str, ...],
    where: str | None,
    failed: str | None,
    sample: int | None,
    seed: int | None,
    columns: str | None,
    limit: int | None,
    no_pager: bool,
    as_json: bool,
) -> None:
    """Show rows of a run as conversations: of a job file, or in a run folder.

    Each with its messages (or else its input columns), media as notes, tool calls, parsed output, error,
    and what it took.

    Also what a running or a killed submit has received and not published yet. With --json, a line of
    JSON for each row, with all columns.

    On a terminal, what is longer than the screen goes through a pager: PAGER, or less. Rows are read as
    they are looked at. PAGER=cat does without, as --no-pager does.
    """
    from batchrun.outcome import ERROR_TYPES
    from batchrun.run_folder.diagnosis import reading
    from batchrun.run_folder.results.read import scan_run
    from batchrun.show.show import Choice, choose, named_columns

    if seed is not None and sample is None:
        raise UsageError("--seed draws another sample, and there is none", hint="Add --sample N.")
    types = error_types(failed, "--failed", frozenset(ERROR_TYPES)) if failed else None
    kinds = frozenset[str]() if failed == "" else types
    pager = None if no_pager else user_pager()
    if limit is None and not (as_json or ids or sample or pager):
        limit = LIMIT
    run = arguments.run()
    with reading(run):
        rows, wanted = named_columns(scan_run(run), columns)
        chosen = choose(rows, Choice(ids, where, kinds, sample, seed or 0, limit))
        if as_json:
            _lines(chosen, wanted)
        else:
            write_long(_blocks(chosen, wanted, whole=bool(ids)), pager)
            _say_how_many(chosen, sampled=sample is not None)


def _lines(chosen: Chosen, columns: list[str]) -> None:
    for frame in chosen.pieces(columns or None):
        for row in frame.iter_rows(named=True):
            write_json(row)


def _blocks(chosen: Chosen, columns: list[str], *, whole: bool) -> Iterator[str]:
    """Each row as the terminal shows it."""
    from batchrun.cli.terminal import drawn
    from batchrun.show.conversation import NEEDED
    from batchrun.show.show import input_columns

    longest = None if whole else _LONGEST
    present = chosen.rows.collect_schema().names()
    inputs = input_columns(present)
    names = ["row_id", *columns] if columns else [*inputs, *(name for name in NEEDED if name in present)]
    for frame in chosen.frames(list(dict.fromkeys(names)), at_once=_AT_ONCE):
        for row in frame.iter_rows(named=True):
            draw = partial(_columns, columns=columns) if columns else partial(_conversation, inputs=inputs)
            yield drawn(partial(draw, row=row, longest=longest))


def _say_how_many(chosen: Chosen, *, sampled: bool) -> None:
    shown = len(chosen.positions)
    if not chosen.matching:
        click.echo("no row fits", err=True)
    elif shown < chosen.matching and not sampled:
        click.echo(f"{shown:,} of {counted(chosen.matching, 'row')}; --limit shows more", err=True)


def _columns(console: Console, *, row: dict[str, Any], columns: list[str], longest: int | None) -> None:
    draw_head(console, str(row["row_id"]), "bold")
    for name in columns:
        if name == "row_id":  # which is the heading
            continue
        draw_text(console, f"{name}: ", spelled(row[name]), longest, indent=2)


def _conversation(console: Console, *, row: dict[str, Any], inputs: list[str], longest: int | None) -> None:
    from batchrun.show.conversation import facts, turns

    states = [row["status"], *(["stale"] if row["stale"] else [])]
    draw_head(
        console, "  ".join([str(row["row_id"]), *states]), "bold red" if row["status"] == "failed" else "bold"
    )
    draw_turns(console, turns(row, inputs), longest)
    if found := facts(row):
        draw_text(console, "", " · ".join(found), None, indent=2, style="dim")


def draw_turns(console: Console, said: Iterable[Turn], longest: int | None = None) -> None:
    """Each turn below the one who speaks; texts cut to `longest` characters."""
    for turn in said:
        draw_head(console, f"  {turn.role}", "red" if turn.role == "error" else "cyan")
        for part in turn.parts:
            draw_text(console, part.label, part.text, longest, indent=4, style=_STYLES[part.kind])


def draw_head(console: Console, line: str, style: str) -> None:
    """A heading, on one line."""
    from rich.text import Text

    console.print(Text(clean_line(line), style=style), soft_wrap=not console.is_terminal)


def draw_text(
    console: Console, label: str, text: str, longest: int | None, *, indent: int, style: str = ""
) -> None:
    """A text below its heading: wrapped on a terminal, in its own lines elsewhere."""
    from rich.padding import Padding
    from rich.text import Text

    if longest is not None and len(text) > longest:
        text = f"{text[:longest]} … ({len(text) - longest:,} more characters)"
    lines = Text.assemble((clean_line(label), "dim"), (clean(text).rstrip("\n"), style))
    if console.is_terminal:
        console.print(Padding(lines, (0, 0, 0, indent), expand=False))
    else:
        padding = Text(" " * indent)
        console.print(
            Text("\n").join(padding + line if line else line for line in lines.split("\n")), soft_wrap=True
        )
