"""One input and the end that it must have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Content: TypeAlias = bytes | Callable[[Path], object]
"""The bytes of a file, or what makes it at its path: a link, a pipe, a Parquet file."""

ASKED = {"max_completion_tokens": 2, "extra_body": {"value": "{{ value }}"}}
"""A request that carries the column `value` as it is."""


@dataclass(frozen=True, slots=True)
class Case:
    """An input in a folder of its own, and what must become of it.

    A case that is not `refused` is run; then `failed` rows, and no others, fail, and the others' values
    reach the request's body and the results unchanged.
    """

    group: str
    name: str
    files: Mapping[str, Content] = field(default_factory=dict)
    job: Mapping[str, Any] | bytes = field(default_factory=dict)
    """Sections of the job file beside the usual ones, or the file's own bytes."""
    refused: str | None = None
    """A regular expression that the message of the refusal holds: exit code 2."""
    failed: Mapping[int, str] = field(default_factory=dict)
    """The rows that fail, from 0, each with a regular expression that its message holds."""
    values: Sequence[Any] | None = None
    """The column `value` of the other rows; None where it is of no matter."""
    either: bool = False
    """It may be refused or run, and a row may fail or not; what is run is unchanged."""
    env_file: str | None = None
    variables: Mapping[str, str] | None = None
    """What the file `env_file` must give."""
    name_of: str = "rows.jsonl"
    alone: bool = False
    """Tried in a process of its own: it may take the memory, the stack or the time of all others."""


def long(text: str, limit: int = 40) -> str:
    """`text` as the name of a case."""
    shown = ascii(text)[1:-1]
    return shown if len(shown) <= limit else f"{shown[:limit]}…"
