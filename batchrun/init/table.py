"""A prompt table as `init` sees it: what names its rows, what is text to work on, what are labels."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from batchrun import codec
from batchrun.errors import InputError, UsageError
from batchrun.init.tasks import TaskKind
from batchrun.source import Row, Source, message_list, open_source
from batchrun.source.files import FORMATS
from batchrun.template.source import column_name

_LOOKED_AT = 1_000
_HEADINGS = ("title", "subject", "headline", "question", "product", "topic")
_LABELS = ("gold_label", "label", "category", "class", "topic", "sentiment", "intent")
_MOST_LABELS = 20
_LABEL = re.compile(r"[\w/&+.-][\w /&+.-]{0,39}")
_CAMEL_ID = re.compile(r".*[a-z0-9]I[dD]$")
_TALKS = 20
"""Values that tell whether a column holds messages."""
_REQUEST = frozenset({"custom_id", "url", "body"})
"""Columns of a file in OpenAI's batch format."""


@dataclass(frozen=True, slots=True)
class Table:
    """What was found in a prompt table.

    Attributes:
        id: a column that names every row, if there is one.
        texts: the columns with text to work on, a heading before the main one.
        labels: the values of a column of labels, if there is one, which is `label`.
        unnameable: columns that no template can name.
        not_id: a column that is called an id and does not name every row once, with why.
        messages: a column that holds each row's own messages, if there is one.
        requests: whether each row is a whole request, in OpenAI's batch format.
    """

    columns: tuple[str, ...]
    id: str | None
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    unnameable: tuple[str, ...] = ()
    not_id: tuple[str, str] | None = None
    messages: str | None = None
    requests: bool = False
    label: str | None = None

    def texts_for(self, task: TaskKind) -> tuple[str, ...]:
        """The texts that a task works on: who is to find a row's label is not shown it."""
        unlabelled = tuple(name for name in self.texts if name != self.label)
        return unlabelled if unlabelled and task == "classify" else self.texts


def inspect_table(data: str, cwd: Path) -> Table:
    """Look at a prompt table: its first rows, and all values of the column that may be its id.

    Raises InputError when it cannot be read or has no row, UsageError when no column can be put into a
    template.
    """
    _refuse_bare_folder(data, cwd)
    source = open_source(data, root=cwd)
    rows = _first_rows(source, data)
    columns = tuple(dict.fromkeys(name for row in rows for name in row.values))
    values = {name: [row.values.get(name) for row in rows] for name in columns}
    if values.keys() >= _REQUEST:
        return Table(columns, "custom_id", (), (), requests=True)
    named, not_id = _id(source, values)
    if (messages := next(filter(lambda name: _is_talk(values[name]), values), None)) is not None:
        return Table(columns, named, (), (), not_id=not_id, messages=messages)
    texts = _texts(values)
    if not texts:
        raise UsageError(
            f"{data}: no column has a name that a template can spell and a value in most rows",
            hint=f"Columns found: {', '.join(columns) or 'none'}. Rename one, without quotes and \\.",
        )
    unnameable = tuple(name for name in columns if column_name(name, columns) is None)
    label, labels = _labels(values)
    return Table(columns, named, texts, labels, unnameable, not_id, label=label)


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
        raise InputError(
            f"{data}: no row of it can be read. The first: {first_error.message}",
            hint="Put the rows right, or name another file: JSONL has one JSON object a line.",
        )
    names = ", ".join(source.declared.names) if source.declared else ""
    raise InputError(
        f"{data}: no rows{f', only the columns {names}' if names else ''}",
        hint="init needs some rows, to see what is in the columns.",
    )


def _texts(values: Mapping[str, list[Any]]) -> tuple[str, ...]:
    usable = [
        name
        for name, column in values.items()
        if column_name(name, values) is not None and _is_filled(column)
    ]
    if not usable:
        return ()
    main = max(usable, key=lambda name: sum(len(value or "") for value in _as_text(values[name])))
    heading = next(_called(_HEADINGS, [name for name in usable if name != main]), None)
    return (main,) if heading is None else (heading, main)


def _called(words: tuple[str, ...], names: Collection[str]) -> Iterator[str]:
    """Those of `names` that are one of the words, or end in one (`Review Title`), in the words' order."""
    by_word = {re.split(r"[\W_]+", name.lower().strip())[-1]: name for name in names}
    by_word |= {name.lower(): name for name in names}
    return (by_word[word] for word in words if word in by_word)


def _is_filled(column: list[Any]) -> bool:
    return sum(value not in (None, "") for value in column) > len(column) / 2


def _is_talk(column: list[Any]) -> bool:
    """Whether a column holds lists of messages, or JSON text of them."""
    filled = [value for value in column if value not in (None, "")][:_TALKS]
    return bool(filled) and all(map(_holds_messages, filled))


def _holds_messages(value: Any) -> bool:
    if not isinstance(value, list) and not (isinstance(value, str) and value.lstrip().startswith("[")):
        return False
    with suppress(ValueError):
        messages = message_list(value)
        return bool(messages) and all(isinstance(one, dict) and "role" in one for one in messages or ())
    return False


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
    return (
        low in ("id", "uid", "uuid", "guid", "key")
        or low.endswith(("_id", "-id", " id"))
        or bool(_CAMEL_ID.match(name))
    )


def _hashes(source: Source, name: str) -> pl.Series:
    """The hash of every value of a column, null where a row has none."""
    hashes = []
    for batch in source.batches(columns=[name]):
        named = [row.values.get(name) for row in batch.rows if not row.error]
        hashes += [None if v is None else codec.hash64(str(v).encode(errors="replace")) for v in named]
    return pl.Series(hashes, dtype=pl.UInt64)


def _labels(values: Mapping[str, list[Any]]) -> tuple[str | None, tuple[str, ...]]:
    """The column of labels, and its values."""
    for name in _called(_LABELS, values):
        labels = sorted(set(_as_text(values[name])))
        if 1 < len(labels) <= _MOST_LABELS and all(map(_LABEL.fullmatch, labels)):
            return name, tuple(labels)
    return None, ()
