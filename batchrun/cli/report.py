"""`batchrun report`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import JobArguments, as_json, out_file, run_options
from batchrun.cli.text import shown_path, wrapped, write, write_json
from batchrun.errors import StorageError, UsageError
from batchrun.wording import clean_line

if TYPE_CHECKING:
    from batchrun.run_folder.folder import RunFolder

_NAME = "report.html"
"""The report among the files of its run."""

EXAMPLES = [
    ("Write report.html into the run folder, and say where it is:", "batchrun report job.yaml"),
    ("Into a file elsewhere, to send to somebody:", "batchrun report runs/job --out triage.html"),
]


@click.command(cls=Explained, examples=EXAMPLES)
@run_options
@out_file(help="The file to write. Default: report.html in the run folder; - is standard output.")
@as_json
def command(arguments: JobArguments, out: Path | None, as_json: bool) -> None:
    """Write how a run stands as one HTML file: of a job file, or in a run folder.

    Its figures and checks, the errors by kind, charts (throughput, latency, concurrency and errors over
    time; tokens and cost by model; attempts, finish reasons, confidence, and the values of parsed), and a
    table to search with the failed rows and a sample of the others. The file needs no network, and
    nothing that a model wrote can run in it.

    Also while a submit is running, and after one was killed.
    """
    from importlib.metadata import version

    if as_json and out == Path("-"):
        raise UsageError("--json needs a file: the report is on standard output", hint="Give --out FILE.")
    from batchrun.report import MISSING, drawer, gather, page
    from batchrun.run_folder.diagnosis import reading

    run = arguments.run()
    with reading(run):
        found = gather(run)
    made = f"batchrun {version('batchrun')}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    text = page(found, made=made)
    drawn = len(found.charts) if drawer() else 0
    if drawn < len(found.charts):
        click.echo(wrapped(f"{MISSING}: pip install vl-convert-python", sys.stderr), err=True)
    if out == Path("-"):
        write(text)
        return
    path = out or run.path / _NAME
    _write(path, text, run, arguments)
    if as_json:
        left_out = {"failed": found.failures_left_out, "ok": found.others_left_out}
        made_of = {"rows": len(found.rows), "charts": drawn, "left_out": left_out, "bytes": len(text)}
        write_json({"report": str(path), **made_of})
    else:
        write(f"{clean_line(shown_path(path))}\n")


def _write(path: Path, text: bytes, run: RunFolder, arguments: JobArguments) -> None:
    """As a file of the run folder, or as one that is none of its own and of what the job reads."""
    from batchrun.cli.reads import require_apart
    from batchrun.export import replacing
    from batchrun.run_folder.disk import write_atomically

    if path.resolve() != (run.path / _NAME).resolve():
        require_apart(path, run, arguments)
        with replacing(path) as file:
            file.write(text)
        return
    try:
        write_atomically(path, text)
    except StorageError as error:
        raise StorageError(
            error.message, hint="Nothing in the run was changed: make room, or name a file with --out."
        ) from error
