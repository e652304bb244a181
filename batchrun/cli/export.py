"""`batchrun export`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import JobArguments, as_json, out_file, run_options
from batchrun.cli.text import shown_path, wrapped, write, write_json
from batchrun.errors import UsageError
from batchrun.export import FORMATS, TABLES, USUAL, Lines, Table, named_by
from batchrun.wording import clean, clean_line, counted, listed

if TYPE_CHECKING:
    from batchrun.run_folder.folder import RunFolder

_COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip")


EXAMPLES = [
    (
        "A table for a spreadsheet:",
        "batchrun export job.yaml --out answers.csv --columns row_id,parsed",
    ),
    (
        "The answers to learn from, as OpenAI's fine-tuning takes them:",
        "batchrun export job.yaml --format chat --out train.jsonl",
    ),
    (
        "The job's requests as a file for OpenAI's Batch API:",
        "batchrun export job.yaml --format openai-batch --out requests.jsonl",
    ),
    ("All columns as lines of JSON, for another program:", "batchrun export runs/job > answers.jsonl"),
]


def _help() -> str:
    """What the command does, and what each format makes of it."""
    tables, exact = TABLES.values(), [form.title for form in TABLES.values() if not form.about]
    abouts = [form.about for form in tables if form.about]
    lines = [f"{name}: {form.about}" for name, form in FORMATS.items() if isinstance(form, Lines)]
    return "\n\n".join(
        [
            f"Write the rows of a run as {listed([form.title for form in tables], 'or')}: of a job file, or "
            "in a run folder.",
            "Also what a running or a killed submit has received and not published yet: without the input's "
            "columns, which come with the publication by the next submit.",
            f"{' '.join(abouts)} {listed(exact, 'and')} keep{'s' * (len(exact) == 1)} every value as it is.",
            *lines,
            "These are JSONL with images, audio and files read in. Requests are rendered anew: from the job "
            "file, or of a run folder from its copy of the job. Rows that cannot be are told, and left out.",
            "With --json, and --out, say in JSON what was written.",
        ]
    )


@click.command(cls=Explained, help=_help(), examples=EXAMPLES)
@run_options
@click.option(
    "--format",
    "given",
    type=click.Choice(list(FORMATS)),
    help=f"What to write. Default: by the suffix of --out; {USUAL} without one.",
)
@out_file(help="The file to write. Default: standard output.")
@click.option("--where", metavar="SQL", help="Rows for which this holds: \"status = 'ok' AND latency > 2\"")
@click.option("--columns", metavar="A,B,…", help="These columns of the results, or members: parsed.label.")
@as_json
def command(
    arguments: JobArguments,
    given: str | None,
    out: Path | None,
    where: str | None,
    columns: str | None,
    as_json: bool,
) -> None:
    """Write rows in one of the formats."""
    out = None if out == Path("-") else out
    if as_json and out is None:
        raise UsageError("--json needs --out: the rows are on standard output", hint="Add --out FILE.")
    name = _format(given, out)
    form = FORMATS[name]
    if isinstance(form, Table):
        rows, about, notes = _table(arguments, form, out, where, columns)
    elif columns is None:
        rows, about, notes = _lines(arguments, form, out, where, as_json=as_json)
    else:
        raise UsageError(
            f"--columns: {name} has no columns, a line holds a whole {form.line}",
            hint="Leave --columns out; --where chooses rows.",
        )
    if as_json:
        write_json({"rows": rows, "format": name, "out": str(out), **about})
        return
    for line in notes:
        _say(line)
    if out is not None:
        click.echo(clean_line(f"{counted(rows, 'row')} in {shown_path(out)}"), err=True)


Told = tuple[int, Mapping[str, Any], Iterable[str]]
"""How many rows were written, what a program is told beside that, and what people are."""


def _table(
    arguments: JobArguments, form: Table, out: Path | None, where: str | None, columns: str | None
) -> Told:
    from batchrun.export.tables import export_table

    run = arguments.run()
    done = export_table(run, form, _target(out, form, run, arguments), where=where, columns=columns)
    bare = done.without_input
    lacking = f"{counted(bare, 'row')} without the input's columns: the next submit fills them in"
    return done.rows, {"without_input": bare}, [lacking] if bare else []


def _lines(
    arguments: JobArguments, form: Lines, out: Path | None, where: str | None, *, as_json: bool
) -> Told:
    from batchrun.cli.memory import keep_memory_small

    keep_memory_small()
    from batchrun.cli.progress import showing
    from batchrun.export.left_out import LeftOut
    from batchrun.export.lines import write_lines
    from batchrun.run_folder.diagnosis import reading
    from batchrun.run_folder.folder import RunFolder

    job = arguments.load_any()
    run, left_out, maker = RunFolder(job.output_path), LeftOut(), form.maker()
    if job.output_address is not None:
        from batchrun.remote.reading import find_copy

        find_copy(job.output_address, job.output_path, say=_say)
    with reading(run) if run.identity_path.exists() else nullcontext():
        with showing(as_json=as_json) as progress:
            lines = maker.lines(job, run, where, left_out, progress)
        with _target(out, form, run, arguments) as sink:
            written = write_lines(lines, sink)
    if note := maker.note(written):
        _say(note)
    return written.rows, {"left_out": left_out.document()}, left_out.lines()


def _say(text: str) -> None:
    click.echo(wrapped(clean_line(text), sys.stderr), err=True)


def _format(given: str | None, out: Path | None) -> str:
    """What is meant to be written. Raises UsageError for a file that is called otherwise."""
    suffix = out.suffix.lower() if out else ""
    if suffix in _COMPRESSED:
        raise UsageError(
            f"--out {out}: nothing is compressed by export",
            hint=f"Name a file without {suffix} and compress it then; Parquet is compressed inside.",
        )
    if given or out is None or not suffix:
        return given or USUAL
    return named_by(out, otherwise=", or add --format")


@contextmanager
def _target(
    out: Path | None, form: Table | Lines, run: RunFolder, arguments: JobArguments
) -> Iterator[IO[bytes]]:
    """Where rows are written: a file that is there whole or not at all, or standard output."""
    from batchrun.cli.reads import require_apart
    from batchrun.export import replacing

    if out is None:
        yield _standard_output(form)
        return
    require_apart(out, run, arguments)
    with replacing(out) as sink:
        yield sink


class _StandardOutput(io.RawIOBase):
    """Standard output, bytes as they are; on a terminal, texts with nothing in them that it would obey."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # what the writers give is bytes
        write(clean(data.decode()) if self._is_terminal else data)
        return len(data)


def _standard_output(form: Table | Lines) -> IO[bytes]:
    if isinstance(form, Table) and not form.is_text and sys.stdout.isatty():
        raise UsageError(
            f"{form.title} is nothing for a terminal", hint=f"Add --out FILE{form.suffixes[0]}, or a pipe."
        )
    return cast("IO[bytes]", _StandardOutput())
