"""`batchrun export`."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import click

from batchrun.cli.options import JobArguments, as_json, column_names, run_options
from batchrun.cli.text import shown_path, write, write_json
from batchrun.errors import UsageError
from batchrun.wording import clean, clean_line, counted

if TYPE_CHECKING:
    from batchrun.export import Format
    from batchrun.run_folder.folder import RunFolder

_FORMATS = ("csv", "jsonl", "parquet")
_SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", "": "jsonl"}
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip")


@click.command()
@run_options
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    help="Default: by the suffix of --out; jsonl without one.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Default: standard output.")
@click.option("--where", metavar="SQL", help="Rows for which this holds: \"status = 'ok' AND latency > 2\"")
@click.option("--columns", metavar="A,B,…", help="These columns of the results, in this order.")
@as_json
def command(
    arguments: JobArguments,
    form: Format | None,
    out: Path | None,
    where: str | None,
    columns: str | None,
    as_json: bool,
) -> None:
    """Write the rows of a run as CSV, JSONL or Parquet: of a job file, or in a run folder.

    Also what a running or a killed submit has received and not published yet.

    In CSV a column of structs becomes one for each member (usage.prompt_tokens), lists are JSON, and a
    text that a spreadsheet would run as a formula (it starts with = + - @) has an apostrophe before it.
    JSONL and Parquet keep every value as it is.

    With --json, and --out, say in JSON what was written.
    """
    from batchrun.export import export, replacing
    from batchrun.run_folder.diagnosis import reading
    from batchrun.run_folder.read import scan_run
    from batchrun.show import Choice, choose

    out = None if out == Path("-") else out
    if as_json and out is None:
        raise UsageError("--json needs --out: the rows are on standard output", hint="Add --out FILE.")
    form = _format(form, out)
    run = arguments.run()
    with reading(run):
        rows = scan_run(run)
        names = rows.collect_schema().names()
        wanted = column_names(columns, names) or names
        chosen = choose(rows, Choice(where=where))
        if out is None:
            export(chosen, wanted, form, _standard_output(form))
            return
        require_apart(out, run, arguments)
        with replacing(out) as sink:
            written = export(chosen, wanted, form, sink)
    if as_json:
        write_json({"rows": written, "format": form, "out": str(out)})
    else:
        click.echo(clean_line(f"{counted(written, 'row')} in {shown_path(out)}"), err=True)


def _format(given: Format | None, out: Path | None) -> Format:
    """What is meant to be written. Raises UsageError for a file that is called otherwise."""
    suffix = out.suffix.lower() if out else ""
    if suffix in _COMPRESSED:
        raise UsageError(
            f"--out {out}: nothing is compressed by export",
            hint=f"Name a file without {suffix} and compress it then; Parquet is compressed inside.",
        )
    if given is None and suffix not in _SUFFIXES:
        raise UsageError(
            f"--out {out}: {suffix} is no format that is written",
            hint=f"Name a file in {', '.join(filter(None, _SUFFIXES))}, or add --format.",
        )
    return given or cast("Format", _SUFFIXES[suffix])


def require_apart(out: Path, run: RunFolder, arguments: JobArguments) -> None:
    """Nothing that a submit reads or writes is written over."""
    if out.resolve().is_relative_to(run.path.resolve()):
        raise UsageError(
            f"--out {out} lies in the run folder, which is batchrun's own", hint="Name a file elsewhere."
        )
    for path in arguments.reads(run):
        with suppress(OSError):
            if out.samefile(path):
                raise UsageError(f"--out {out} is what the job reads", hint="Name another file.")


class _StandardOutput(io.RawIOBase):
    """Standard output, bytes as they are; on a terminal, texts with nothing in them that it would obey."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # what the writers give is bytes
        write(clean(data.decode()) if self._is_terminal else data)
        return len(data)


def _standard_output(form: Format) -> IO[bytes]:
    if form == "parquet" and sys.stdout.isatty():
        raise UsageError("Parquet is nothing for a terminal", hint="Add --out FILE.parquet, or a pipe.")
    return cast("IO[bytes]", _StandardOutput())
