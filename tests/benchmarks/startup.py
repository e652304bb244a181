"""What commands cost before and beside their work: `--help`, a finished job, a plan.

Each is a process of the same Python, started many times in turn with a click program that has as many
commands and does nothing. Medians, and the median of the ratios round by round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks import table, timed
from tests.benchmarks.shapes import SMALL, write_table
from tests.reliability.responder import responding
from tests.runs import JobFolder

COLUMNS = ("command", "ms", "CPU ms", "times bare click", "CPU, times bare click")

_BARE = "bare click --help"
_COMMANDS = 10
_BARE_PROGRAM = """\
import click

@click.group()
def cli():
    "A program."

{commands}

cli()
"""
_BARE_COMMAND = """\
@cli.command()
def verb{number}():
    "Do something."
"""
_ENTRY_POINT = """\
import sys
from batchrun.cli import main
sys.exit(main())
"""
"""As installers write it for `[project.scripts]`."""


def commands(folder: Path, job: JobFolder) -> dict[str, list[str]]:
    """The command lines by their names; the scripts that they run are written to `folder`."""
    bare, script = folder / "bare_click.py", folder / "batchrun_script.py"
    listed = "\n".join(_BARE_COMMAND.format(number=number) for number in range(_COMMANDS))
    bare.write_text(_BARE_PROGRAM.format(commands=listed), encoding="utf-8")
    script.write_text(_ENTRY_POINT, encoding="utf-8")
    batchrun = [sys.executable, str(script)]
    return {
        _BARE: [sys.executable, str(bare), "--help"],
        "batchrun --help": [*batchrun, "--help"],
        "batchrun --version": [*batchrun, "--version"],
        "batchrun submit, finished job": [*batchrun, "submit", str(job.job)],
        "batchrun plan, finished job": [*batchrun, "plan", str(job.job)],
        "batchrun status, finished job": [*batchrun, "status", str(job.job)],
    }


def measure(lines: Mapping[str, Sequence[str]], rounds: int, log: Path) -> dict[str, list[timed.Took]]:
    """Run each command `rounds` times, in turn. Raises RuntimeError when one ends with another code than 0.

    One round more comes first, which nobody counts: it fills caches.
    """
    took: dict[str, list[timed.Took]] = {name: [] for name in lines}
    for number in range(rounds + 1):
        for name, command in lines.items():
            one = timed.run(command, log=log)
            if one.code:
                raise RuntimeError(f"{name} ended with {one.code}: {log.read_text(errors='replace')}")
            if number:
                took[name].append(one)
    return took


def rows(took: Mapping[str, Sequence[timed.Took]]) -> list[tuple[str, ...]]:
    """The lines of the table."""
    bare = took[_BARE]
    return [
        (
            name,
            f"{statistics.median(one.seconds for one in runs) * 1e3:,.0f}",
            f"{statistics.median(one.cpu for one in runs) * 1e3:,.0f}",
            table.times(table.ratio([one.seconds for one in runs], [one.seconds for one in bare])),
            table.times(table.ratio([one.cpu for one in runs], [one.cpu for one in bare])),
        )
        for name, runs in took.items()
    ]


def finish(job: JobFolder, rows: int) -> None:
    """Write a job and bring it to its end."""
    write_table(job.rows, rows, SMALL)
    with responding() as (base_url, _):
        job.write(base_url)
        assert job.submit().code == 0


def main(arguments: Sequence[str]) -> int:
    """Time the commands."""
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="batchrun-startup-") as name:
        folder = Path(name)
        job = JobFolder(folder)
        finish(job, asked.rows)
        took = measure(commands(folder, job), asked.rounds, folder / "log")
    head = table.headed(
        " ".join(["python -m tests.benchmarks startup", *arguments]),
        f"a job of {asked.rows:,} rows",
        f"medians of {asked.rounds}",
    )
    text = head + table.written(COLUMNS, rows(took))
    sys.stdout.write(text)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks startup", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000, help="of the finished job")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table to a file too")
    return parser
