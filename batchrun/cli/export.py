"""`batchrun export`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import click

from batchrun.cli.help import Explained
from batchrun.cli.options import JobArguments, as_json, column_names, run_options
from batchrun.cli.text import shown_path, wrapped, write, write_json
from batchrun.errors import UsageError
from batchrun.wording import clean, clean_line, counted

if TYPE_CHECKING:
    from batchrun.export import Format
    from batchrun.run_folder.folder import RunFolder

_TABLES = ("csv", "jsonl", "parquet")
_WHOLE = {"openai-batch": "request", "chat": "conversation"}
_LINES = tuple(_WHOLE)
_SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", "": "jsonl"}
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


@click.command(cls=Explained, examples=EXAMPLES)
@run_options
@click.option(
    "--format",
    "form",
    type=click.Choice((*_TABLES, *_LINES)),
    help="What to write. Default: by the suffix of --out; jsonl without one.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file to write. Default: standard output.",
)
@click.option("--where", metavar="SQL", help="Rows for which this holds: \"status = 'ok' AND latency > 2\"")
@click.option("--columns", metavar="A,B,…", help="These columns of the results, or members: parsed.label.")
@as_json
def command(
    arguments: JobArguments,
    form: str | None,
    out: Path | None,
    where: str | None,
    columns: str | None,
    as_json: bool,
) -> None:
    """Write the rows of a run as CSV, JSONL or Parquet: of a job file, or in a run folder.

    Also what a running or a killed submit has received and not published yet: without the input's columns,
    which come with the publication by the next submit.

    In CSV a column of structs becomes one for each member (usage.prompt_tokens), lists are JSON, and a
    text that a spreadsheet would run as a formula (it starts with = + - @) has an apostrophe before it.
    JSONL and Parquet keep every value as it is.

    openai-batch: the job's requests, a line each, as OpenAI's Batch API takes them; of all chosen rows of
    the input, also before the first submit, or with --where of those rows of the results.

    chat: answered rows as OpenAI's fine-tuning takes them: prompt, answer, tools; whole conversations of
    turns and functions.

    Both are JSONL with images, audio and files read in. Requests are rendered anew: from the job file, or of
    a run folder from its copy of the job. Rows that cannot be are told, and left out.

    With --json, and --out, say in JSON what was written.
    """
    out = None if out == Path("-") else out
    if as_json and out is None:
        raise UsageError("--json needs --out: the rows are on standard output", hint="Add --out FILE.")
    form = _format(form, out)
    if form not in _LINES:
        rows, bare = _tables(arguments, form, out, where, columns)
        lacking = f"{counted(bare, 'row')} without the input's columns: the next submit fills them in"
        _told(rows, form, out, {"without_input": bare}, [lacking] if bare else [], as_json=as_json)
        return
    if columns is not None:
        raise UsageError(
            f"--columns: {form} has no columns, a line holds a whole {_WHOLE[form]}",
            hint="Leave --columns out; --where chooses rows.",
        )
    from batchrun.cli.export_lines import export_lines
    from batchrun.export.left_out import LeftOut

    left_out = LeftOut()
    rows = export_lines(arguments, form, out, where, left_out, as_json=as_json)
    _told(rows, form, out, {"left_out": left_out.document()}, left_out.lines(), as_json=as_json)


def _tables(
    arguments: JobArguments, form: str, out: Path | None, where: str | None, columns: str | None
) -> tuple[int, int]:
    """Write the results' rows; how many there were, and how many of them have no input columns yet."""
    from batchrun.export import export
    from batchrun.run_folder.diagnosis import reading
    from batchrun.run_folder.results.read import scan_seen, see
    from batchrun.show.show import Choice, choose, input_columns, with_members

    run = arguments.run()
    with reading(run):
        seen = see(run)
        rows = scan_seen(seen)
        names = rows.collect_schema().names()
        wanted = column_names(columns, names) or names
        chosen = choose(with_members(rows, wanted), Choice(where=where))
        with target(out, form, run, arguments) as sink:
            written = export(chosen, wanted, cast("Format", form), sink)
    if inputs := input_columns(names):
        lacking = not set(wanted).isdisjoint(inputs)
    else:  # the first publication brings them
        lacking = columns is None and not run.results.exists()
    return written, int(chosen.positions.is_in(seen.since["row_index"].implode()).sum()) if lacking else 0


def _told(
    rows: int, form: str, out: Path | None, about: Mapping[str, Any], lines: Iterable[str], *, as_json: bool
) -> None:
    """Say what was written where; `about` is what a program is told beside that, and people in `lines`."""
    if as_json:
        write_json({"rows": rows, "format": form, "out": str(out), **about})
        return
    for line in lines:
        click.echo(wrapped(clean_line(line), sys.stderr), err=True)
    if out is not None:
        click.echo(clean_line(f"{counted(rows, 'row')} in {shown_path(out)}"), err=True)


@contextmanager
def target(out: Path | None, form: str, run: RunFolder, arguments: JobArguments) -> Iterator[IO[bytes]]:
    """Where rows are written: a file that is there whole or not at all, or standard output."""
    from batchrun.export import replacing

    if out is None:
        yield _standard_output(form)
        return
    require_apart(out, run, arguments)
    with replacing(out) as sink:
        yield sink


def _format(given: str | None, out: Path | None) -> str:
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
    return given or _SUFFIXES[suffix]


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


def _standard_output(form: str) -> IO[bytes]:
    if form == "parquet" and sys.stdout.isatty():
        raise UsageError("Parquet is nothing for a terminal", hint="Add --out FILE.parquet, or a pipe.")
    return cast("IO[bytes]", _StandardOutput())
