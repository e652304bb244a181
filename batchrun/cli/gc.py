"""`batchrun gc`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import JobArguments, as_json, job_options
from batchrun.cli.text import answer
from batchrun.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from batchrun.gc import Garbage


EXAMPLES = [
    ("Say what would be dropped, and change nothing:", "batchrun gc job.yaml"),
    ("Drop it:", "batchrun gc job.yaml --yes"),
]


@click.command(cls=Explained, examples=EXAMPLES)
@job_options
@click.option("--yes", is_flag=True, help="Do it. Without this, only say what would be dropped.")
@as_json
def command(arguments: JobArguments, yes: bool, as_json: bool) -> None:
    """Drop the answers that no row of JOB stands for any more.

    Those of removed rows, of edited rows, and failures that were followed by an answer. They are kept so
    far because taking an edit back then costs nothing; afterwards it is paid for again. Results stay
    as they are.
    """
    from batchrun.gc import collect, preview

    job = arguments.load()
    found = (collect if yes else preview)(job, say=lambda text: click.echo(text, err=True))

    def tell(console: Console) -> None:
        from batchrun.cli.terminal import headline

        headline(console, _said(found, job.name))
        if not yes and (found.answers or found.unfinished or found.small):
            headline(console, f"  nothing is changed yet: {arguments.again('gc', '--yes')}", style="")

    answer({**asdict(found), "done": yes}, tell, as_json=as_json)


def _said(found: Garbage, name: str) -> str:
    what = counted(found.answers, "answer")
    if found.unfinished:
        what += f" and {counted(found.unfinished, 'unfinished call')}"
    if not found.answers and not found.unfinished:
        what = "nothing"
    if found.bytes_after is not None:
        freed = max(0, found.bytes - found.bytes_after)
        return f"{name}: dropped {what}, kept {found.kept:,}; {_size(freed)} freed"
    merge = f" and merge {found.small:,} small parts" if found.small else ""
    return f"{name}: would drop {what}, keep {found.kept:,}{merge}; the checkpoint holds {_size(found.bytes)}"


def _size(number: int) -> str:
    size, unit = float(number), "bytes"
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{number} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
