"""The formats of `batchrun export`: what --format takes, its help, suffixes and refusals follow from here.

To add one, write a module with the function of its kind (`WritesTable`, `MakesLines`), and name it below.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from batchrun.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from batchrun.export.left_out import LeftOut
    from batchrun.export.lines import Written
    from batchrun.job import Job
    from batchrun.progress.display import Progress
    from batchrun.run_folder.folder import RunFolder


class WritesTable(Protocol):
    """The module of a format that holds columns of the results."""

    def write(self, schema: pl.Schema, pieces: Iterable[pl.DataFrame], sink: IO[bytes]) -> None:
        """Write the rows, which come in pieces of some megabytes, to a sink that need not be seekable."""


class MakesLines(Protocol):
    """The module of a format whose lines of JSON are rendered from a job."""

    def lines(
        self, job: Job, run: RunFolder, where: str | None, left_out: LeftOut, progress: Progress
    ) -> Iterator[Mapping[str, Any]]:
        """Check what is asked for, then give a line for each row; one that has none goes to `left_out`."""

    def note(self, written: Written) -> str:
        """What people must know of a file with so much in it; empty where that is nothing."""


@dataclass(frozen=True, slots=True)
class Table:
    """A format that holds columns of the results.

    Attributes:
        title: what people call it.
        module: a `WritesTable`, imported when it is needed.
        suffixes: files with one of these are of this format, the usual one first.
        about: what it makes of values, for the help; empty where it keeps each as it is.
        is_text: whether it can be read on a terminal.
    """

    title: str
    module: str
    suffixes: tuple[str, ...]
    about: str = ""
    is_text: bool = True

    def writer(self) -> WritesTable:
        """What writes it."""
        return cast(WritesTable, importlib.import_module(self.module))


@dataclass(frozen=True, slots=True)
class Lines:
    """A format whose lines of JSON are rendered from a job.

    Attributes:
        module: a `MakesLines`, imported when it is needed.
        line: what a line holds a whole of.
        about: what the lines are and of which rows, for the help.
    """

    module: str
    line: str
    about: str

    def maker(self) -> MakesLines:
        """What makes its lines."""
        return cast(MakesLines, importlib.import_module(self.module))


FORMATS: Mapping[str, Table | Lines] = {
    "csv": Table(
        "CSV",
        "batchrun.export.csv_table",
        (".csv",),
        "In CSV a column of structs becomes one for each member (usage.prompt_tokens), lists are JSON, and "
        "a text that a spreadsheet would run as a formula (it starts with = + - @) has an apostrophe before "
        "it.",
    ),
    "jsonl": Table(
        "JSONL",
        "batchrun.export.lines",
        (".jsonl", ".ndjson"),
        "In JSONL, NaN and infinity are null, decimals, dates, times and durations texts, and bytes base64.",
    ),
    "parquet": Table("Parquet", "batchrun.export.parquet_file", (".parquet",), is_text=False),
    "openai-batch": Lines(
        "batchrun.export.requests",
        "request",
        "the job's requests, a line each, as OpenAI's Batch API takes them; of all chosen rows of the input, "
        "also before the first submit, or with --where of those rows of the results.",
    ),
    "chat": Lines(
        "batchrun.export.conversations",
        "conversation",
        "answered rows as OpenAI's fine-tuning takes them: prompt, answer, tools; whole conversations of "
        "turns and functions.",
    ),
}

TABLES = {name: form for name, form in FORMATS.items() if isinstance(form, Table)}

USUAL = "jsonl"
"""The format where neither an option nor a file's name says one."""


def named_by(out: Path, *, otherwise: str = "") -> str:
    """The format of tables that a file's suffix says.

    Raises UsageError where it says none; its hint ends with what else can be done (`otherwise`).
    """
    suffix = out.suffix.lower()
    for name, form in TABLES.items():
        if suffix in form.suffixes:
            return name
    known = ", ".join(suffix for form in TABLES.values() for suffix in form.suffixes)
    raise UsageError(
        f"--out {out}: {suffix or 'no suffix'} is no format that is written",
        hint=f"Name a file in {known}{otherwise}.",
    )
