"""`batchrun show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from batchrun.cli.options import TYPES, JobArguments, OptionalValues, as_json, error_types, run_options
from batchrun.cli.text import clean, counted, duration, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from batchrun.show import Chosen

LIMIT = 20
_LONGEST = 2_000
"""Characters of a text that are shown when many rows are."""

_SHOWN = [
    *("row_id", "status", "stale", "model", "latency", "usage", "completion", "refusal", "reasoning"),
    *("finish_reason", "tool_calls", "choices", "error", "attempts"),
]


@click.command(cls=OptionalValues)
@run_options
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--where", metavar="SQL", help="Rows for which this holds: \"status = 'ok' AND latency > 2\"")
@click.option("--failed", metavar=TYPES, help="Failed rows: all, or those with these error types.")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="N rows drawn among those that fit.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed draws others.")
@click.option("--columns", metavar="A,B,…", help="Show these columns of the results instead.")
@click.option(
    "--limit", type=click.IntRange(min=1), help=f"At most so many rows. Default: {LIMIT}; all with --json"
)
@as_json
def command(
    arguments: JobArguments,
    ids: tuple[str, ...],
    where: str | None,
    failed: str | None,
    sample: int | None,
    seed: int,
    columns: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show rows of a run: of a job file, or in a run folder.

    Also what a running or a killed submit has received and not published yet. With --json, a line of
    JSON for each row, with all columns.
    """
    from batchrun.outcome import ERROR_TYPES
    from batchrun.run_folder.read import scan_run
    from batchrun.show import Choice, choose, require_columns

    types = error_types(failed, "--failed", frozenset(ERROR_TYPES)) if failed else None
    kinds = frozenset[str]() if failed == "" else types
    if limit is None and not as_json and not ids:
        limit = LIMIT
    rows = scan_run(arguments.run())
    wanted = tuple(name.strip() for name in columns.split(",")) if columns else ()
    require_columns(wanted, rows.collect_schema().names(), "--columns")
    chosen = choose(rows, Choice(ids, where, kinds, sample, seed, limit))
    if as_json:
        _lines(chosen, list(wanted))
    else:
        _blocks(chosen, list(wanted), whole=bool(ids))
        _say_how_many(chosen, sampled=sample is not None)


def _lines(chosen: Chosen, columns: list[str]) -> None:
    for frame in chosen.frames(columns or None):
        for row in frame.iter_rows(named=True):
            write_json(row)


def _blocks(chosen: Chosen, columns: list[str], *, whole: bool) -> None:
    from batchrun.cli.terminal import output

    longest = None if whole else _LONGEST
    names = ["row_id", *(name for name in columns if name != "row_id")] if columns else _SHOWN
    for frame in chosen.frames(names):
        for row in frame.iter_rows(named=True):
            with output() as console:
                _block(console, row, names[1:] if columns else None, longest)


def _say_how_many(chosen: Chosen, *, sampled: bool) -> None:
    shown = len(chosen.positions)
    if not chosen.matching:
        click.echo("no row fits", err=True)
    elif shown < chosen.matching and not sampled:
        click.echo(f"{shown:,} of {counted(chosen.matching, 'row')}; --limit shows more", err=True)


def _block(console: Console, row: dict[str, Any], columns: list[str] | None, longest: int | None) -> None:
    from rich.text import Text

    if columns is not None:
        console.print(Text(clean(str(row["row_id"])), style="bold"), soft_wrap=True)
        for name in columns:
            _value(console, f"{name}: ", "" if row[name] is None else str(row[name]), longest)
        return
    failed = row["status"] == "failed"
    head = Text(clean(str(row["row_id"])), style="bold red" if failed else "bold")
    console.print(head + Text(clean(f"  {'  '.join(_facts(row))}"), style="dim"), soft_wrap=True)
    refused = failed and row["error"]["type"] == "refusal" and row["refusal"]
    if row["error"] is not None and not refused:
        _value(console, "", f"{row['error']['type']}: {row['error']['message'] or ''}", longest, style="red")
    for name, style in (("reasoning", "dim"), ("refusal", "red" if refused else "dim")):
        if row[name]:
            _value(console, f"{name}: ", row[name], longest, style=style)
    if row["completion"] is not None:
        _value(console, "", row["completion"], longest)
    for call in row["tool_calls"] or []:
        _value(console, "", f"{call['name']}({call['arguments'] or call['input'] or ''})", longest)


def _facts(row: dict[str, Any]) -> list[str]:
    usage = row["usage"] or {}
    tokens = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    calls = len(row["attempts"] or [])
    facts = [
        row["status"],
        "stale" if row["stale"] else None,
        row["model"],
        None if row["latency"] is None else duration(row["latency"]),
        None if tokens == (None, None) else f"{tokens[0] or 0}+{tokens[1] or 0} tokens",
        row["finish_reason"] if row["finish_reason"] not in (None, "stop") else None,
        counted(calls, "call") if calls > 1 else None,
        counted(len(row["choices"]), "choice") if row["choices"] else None,
    ]
    return [fact for fact in facts if fact]


def _value(console: Console, label: str, text: str, longest: int | None, *, style: str = "") -> None:
    from rich.padding import Padding
    from rich.text import Text

    if longest is not None and len(text) > longest:
        text = f"{text[:longest]} … ({len(text) - longest:,} more characters)"
    lines = Text.assemble((clean(label), "dim"), (clean(text).rstrip("\n"), style))
    if console.is_terminal:
        console.print(Padding(lines, (0, 0, 0, 2), expand=False))
    else:
        console.print(Text("\n").join(Text("  ") + line for line in lines.split("\n")), soft_wrap=True)
