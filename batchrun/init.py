"""`init`: a job file to begin with, fitted to a prompt table."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from errno import EDQUOT, EIO, ENOSPC
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from batchrun import codec
from batchrun.errors import InputError, StorageError, UsageError
from batchrun.export import replacing
from batchrun.job import PRESETS, job_schema
from batchrun.job.known import did_you_mean
from batchrun.source import Row, Source, open_source
from batchrun.source.files import FORMATS
from batchrun.wording import clean_line

TaskKind = Literal["classify", "extract", "summarize", "generate"]
TASK_KINDS: tuple[TaskKind, ...] = get_args(TaskKind)

SCHEMA_FILE = "job.schema.json"

_LOOKED_AT = 1_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = frozenset({"and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "loop", "self"})
_HEADINGS = ("title", "subject", "headline", "question", "product", "topic")
_LABELS = ("gold_label", "label", "category", "class", "topic", "sentiment", "intent")
_MOST_LABELS = 20
_LABEL = re.compile(r"[\w/&+.-][\w /&+.-]{0,39}")


@dataclass(frozen=True, slots=True)
class Table:
    """What was found in a prompt table.

    Attributes:
        id: a column that names every row, if there is one.
        texts: the columns with text to work on, a heading before the main one.
        labels: the values of a column of labels, if there is one.
        unnameable: columns that no template can name.
        not_id: a column that is called an id and does not name every row once, with why.
    """

    columns: tuple[str, ...]
    id: str | None
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    unnameable: tuple[str, ...] = ()
    not_id: tuple[str, str] | None = None


def look(data: str, cwd: Path) -> Table:
    """Look at a prompt table: its first rows, and all values of the column that may be its id.

    Raises InputError when it cannot be read or has no row, UsageError when no column can be put into a
    template.
    """
    _refuse_bare_folder(data, cwd)
    source = open_source(data, root=cwd)
    rows = _first_rows(source, data)
    columns = tuple(dict.fromkeys(name for row in rows for name in row.values))
    values = {name: [row.values.get(name) for row in rows] for name in columns}
    texts = _texts(values)
    if not texts:
        raise UsageError(
            f"{data}: no column has a name that a template can use and a value in every row",
            hint=f"Columns found: {', '.join(columns) or 'none'}. Use letters, digits and _ in names.",
        )
    named, not_id = _id(source, values)
    unnameable = tuple(name for name in columns if not _is_nameable(name))
    return Table(columns, named, texts, _labels(values), unnameable, not_id)


def _refuse_bare_folder(data: str, cwd: Path) -> None:
    """A folder that holds no table itself, as a project's, is not searched: what lies deeper is not meant."""
    folder = cwd / Path(data).expanduser()
    if not folder.is_dir():
        return
    if not any(path.is_file() and _is_table(path.name) for path in folder.iterdir()):
        raise UsageError(
            f"{data} is a folder without a table directly in it: a file is needed here",
            hint=f"Name a file ({', '.join(FORMATS)}), or a glob such as '{Path(data) / '**/*.parquet'}'.",
        )


def _is_table(name: str) -> bool:
    return not name.startswith((".", "_")) and any(end.lower() in FORMATS for end in Path(name).suffixes[-2:])


def _first_rows(source: Source, data: str) -> list[Row]:
    """Some rows that can be read. Raises InputError when there is none."""
    rows: list[Row] = []
    first_error = None
    for batch in source.batches():
        rows += [row for row in batch.rows if not row.error]
        first_error = first_error or next((row.error for row in batch.rows if row.error), None)
        if len(rows) >= _LOOKED_AT:
            break
    if rows:
        return rows[:_LOOKED_AT]
    if first_error:
        raise InputError(f"{data}: no row of it can be read. The first: {first_error.message}")
    names = ", ".join(source.declared.names) if source.declared else ""
    raise InputError(
        f"{data}: no rows{f', only the columns {names}' if names else ''}",
        hint="init needs some rows, to see what is in the columns.",
    )


def _texts(values: Mapping[str, list[Any]]) -> tuple[str, ...]:
    usable = [name for name, column in values.items() if _is_usable(name, column)]
    if not usable:
        return ()
    main = max(usable, key=lambda name: sum(len(value or "") for value in _as_text(values[name])))
    heading = next((name for name in _HEADINGS if name in usable and name != main), None)
    return (main,) if heading is None else (heading, main)


def _is_usable(name: str, column: list[Any]) -> bool:
    filled = sum(value not in (None, "") for value in column)
    return _is_nameable(name) and filled > len(column) / 2


def _is_nameable(name: str) -> bool:
    """Whether a template can spell a column."""
    return bool(_NAME.fullmatch(name)) and name.lower() not in _WORDS


def _as_text(column: list[Any]) -> list[str]:
    return [value for value in column if isinstance(value, str)]


def _id(source: Source, values: Mapping[str, list[Any]]) -> tuple[str | None, tuple[str, str] | None]:
    """The first column that is called an id and names every row once; else one that does not, with why."""
    wrong = None
    for name in filter(_is_called_an_id, values):
        column = _hashes(source, name)
        if not column.null_count() and column.n_unique() == len(column):
            return name, None
        wrong = wrong or (name, "is empty in some rows" if column.null_count() else "has duplicates")
    return None, wrong


def _is_called_an_id(name: str) -> bool:
    low = name.lower()
    return low in ("id", "uuid", "key") or low.endswith(("_id", "-id", " id")) or name.endswith("Id")


def _hashes(source: Source, name: str) -> pl.Series:
    """The hash of every value of a column, null where a row has none."""
    hashes = []
    for batch in source.batches(columns=[name]):
        named = [row.values.get(name) for row in batch.rows if not row.error]
        hashes += [None if v is None else codec.hash64(str(v).encode(errors="replace")) for v in named]
    return pl.Series(hashes, dtype=pl.UInt64)


def _labels(values: Mapping[str, list[Any]]) -> tuple[str, ...]:
    for name in (name for name in _LABELS if name in values):
        labels = sorted(set(_as_text(values[name])))
        if 1 < len(labels) <= _MOST_LABELS and all(map(_LABEL.fullmatch, labels)):
            return tuple(labels)
    return ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What the job shall be. `endpoint` is a preset's name."""

    data: str
    task: TaskKind
    endpoint: str
    model: str
    out: Path


def checked_endpoint(endpoint: str) -> str:
    """Raises UsageError when it is no preset, with the nearest spelling."""
    if endpoint not in PRESETS:
        raise UsageError(
            f"--endpoint {endpoint}: is no preset.{did_you_mean(endpoint, PRESETS)}",
            hint=f"Presets: {', '.join(PRESETS)}. Any other server is described in the job file itself.",
        )
    return endpoint


def write_job(wish: Wish, table: Table, cwd: Path) -> Path:
    """Write the job file, and the schema that its first line names where there is none; gives its path.

    Raises UsageError when the file exists already, or cannot be written there, and StorageError when the
    disk refuses it; there is no half of a file then.
    """
    out = cwd / wish.out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        taken, schema = os.path.lexists(out), out.parent / SCHEMA_FILE
    except OSError as error:
        refused = StorageError if error.errno in (ENOSPC, EDQUOT, EIO) else UsageError
        raise refused(f"{wish.out}: cannot be written: {error.strerror}") from error
    if taken:
        raise UsageError(
            f"{wish.out} exists already and is left as it is", hint="Name another file with --out."
        )
    if not schema.exists():
        _write(schema, json.dumps(job_schema(), indent=2, ensure_ascii=False) + "\n")
    _write(out, job_text(wish, table, cwd))
    return out


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


def job_text(wish: Wish, table: Table, cwd: Path) -> str:
    """The job file's text."""
    data = os.path.relpath(cwd / wish.data, (cwd / wish.out).parent)
    system, request = _PROMPTS[wish.task]
    labels = ", ".join(table.labels or ("positive", "negative", "neutral"))
    body = "\n\n".join(f"{{{{ {name} }}}}" for name in table.texts)
    return _JOB.format(
        schema=SCHEMA_FILE,
        about=f"Written by `batchrun init` for {clean_line(Path(wish.data).name)}.",
        path=json.dumps(data, ensure_ascii=False),
        id=_ID.format(id=json.dumps(table.id, ensure_ascii=False)) if table.id else _NO_ID,
        columns=_comment(f"a minijinja template; columns: {', '.join(map(_shown, table.columns))}"),
        system=system.format(labels=labels),
        user=body.replace("\n", "\n        ").replace("        \n", "\n"),
        request=request,
        model=json.dumps(f"{wish.endpoint}/{wish.model}", ensure_ascii=False),
        endpoint=_about_endpoint(wish.endpoint),
    )


def _comment(text: str) -> str:
    return textwrap.fill(text, 100, initial_indent="      # ", subsequent_indent="      #   ")


def _shown(column: str) -> str:
    return column if _NAME.fullmatch(column) else json.dumps(column)


def _about_endpoint(endpoint: str) -> str:
    preset = PRESETS[endpoint]
    if preset.base_url is None:
        return "# The simulator makes its answers up: change this to ENDPOINT/MODEL for real ones."
    if preset.api_key_env is None:
        return f"# Served at {preset.base_url}."
    return f"# The key is read from the variable {preset.api_key_env}."


_ID = "  id: {id}  # names a row, so that its answer is found again wherever it stands"
_NO_ID = "  # id: COLUMN  # a column that names each row; without one, rows are matched by their request"

_PROMPTS: dict[TaskKind, tuple[str, str]] = {
    "classify": (
        "Sort the text into exactly one of these labels: {labels}. Answer with the label alone.",
        "  temperature: 0\n  max_completion_tokens: 16",
    ),
    "extract": (
        "Take these facts from the text: names, dates, amounts. Answer with one JSON object with the keys "
        "names, dates and amounts, each a list; an empty list where the text says nothing.",
        "  temperature: 0\n  max_completion_tokens: 400\n  response_format: {type: json_object}",
    ),
    "summarize": (
        "Summarize the text in one or two sentences. Say nothing that it does not say.",
        "  temperature: 0\n  max_completion_tokens: 150",
    ),
    "generate": (
        "Write a short, friendly and factual reply to the text.",
        "  temperature: 0.7\n  max_completion_tokens: 300",
    ),
}
"""For each task, the system message and the parameters."""

_JOB = """\
# yaml-language-server: $schema={schema}
# {about}
input:
  path: {path}
{id}
  # where: "…"  # a SQL condition over the columns: only rows for which it is true are run
  # limit: 100  # only the first rows

prompt:
  messages:
    - role: system
      content: >-
        {system}
    - role: user
{columns}
      content: |
        {user}

request:  # any Chat Completions parameter; a value may be a template too
{request}

{endpoint}
model: {model}
"""
