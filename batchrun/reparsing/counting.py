"""What reading stored answers anew has come to, counted; and why answers will not do, in groups."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from batchrun.outcome import Completed, Error, Failed
from batchrun.run_folder.journal.records import Done
from batchrun.summary import Summary

SHOWN = 3
"""Reasons that are told, the most common ones."""

_MOST = 1_000
"""Reasons that are told apart; what comes then counts by its error type alone."""

_NEXT = re.compile(r"; (?=\$)")
_PLACE = re.compile(r"\[\d+\]")
_VALUE = re.compile(
    r'^(\$.*?: )(?:"(?:[^"\\]|\\[^…])*(?:"|\\?…)'
    r"|-?\d[\d.eE+-]*|true|false|null|an object|a list) (?!is a required)"
)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why answers will not do.

    Attributes:
        error_type: as in the results.
        reason: the first complaint of the schema without the values, `$.score: … is greater than 5`; empty
            where the schema has no part in it.
        rows: how many rows fail for it.
        row_id, message: one of them, and its whole message.
    """

    error_type: str
    reason: str
    rows: int
    row_id: str
    message: str


@dataclass(frozen=True, slots=True)
class Reparsed:
    """What the answers of a run are to a new schema; all numbers are rows.

    `rows` are those of the job: `done` had an outcome for the present schema, `reread` were read now, `left`
    have nothing to read.

    Attributes:
        ok, failed: how the rows that were read stand now.
        now_ok: of `ok`, those that had failed.
        now_failed: of `failed`, those that were ok.
        errors: the failed ones by error type.
        reasons: the most common reasons among them.
        left: rows that wait for a submit: `pending` (no answer), by the type of an error that left no answer,
            `changed` and `stale` (their answer is to another request).
        dry_run: whether nothing was written.
        summary: the run afterwards; None after a dry run.
    """

    name: str
    rows: int
    done: int
    reread: int
    ok: int
    failed: int
    now_ok: int
    now_failed: int
    errors: dict[str, int]
    reasons: tuple[Reason, ...]
    left: dict[str, int]
    dry_run: bool
    summary: Summary | None = None

    def document(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


class Tally:
    """Counts rows as they are read. Its memory does not grow with them."""

    def __init__(self) -> None:
        self.reread = self.ok = self.now_ok = self.now_failed = 0
        self.errors: Counter[str] = Counter()
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], tuple[str, str]] = {}

    def note(self, done: Done, row_id: str, rows: int, *, was_ok: bool) -> None:
        """Count what was read for one row, and for those that share its answer."""
        self.reread += rows
        match done.outcome:
            case Completed():
                self.ok += rows
                self.now_ok += 0 if was_ok else rows
            case Failed(error=error):
                self.now_failed += rows if was_ok else 0
                self.errors[error.type] += rows
                self._note_reason(error, row_id, rows)

    def _note_reason(self, error: Error, row_id: str, rows: int) -> None:
        reason = error.type, reason_of(error)
        if reason not in self._reasons and len(self._reasons) >= _MOST:
            reason = error.type, ""
        self._reasons[reason] += rows
        self._examples.setdefault(reason, (row_id, error.message))

    def reasons(self) -> tuple[Reason, ...]:
        """The most common ones."""
        return tuple(
            Reason(*reason, rows, *self._examples[reason])
            for reason, rows in self._reasons.most_common(SHOWN)
        )


def reason_of(error: Error) -> str:
    """What answers of different rows have in common that fail by the schema: its first complaint (see
    `chat.schema.structured.Invalid`) without the value; empty for what the schema has no part in."""
    if error.type != "invalid_output":
        return ""
    if not error.message.startswith("$"):
        return _NUMBER.sub("…", error.message)
    masked = _VALUE.sub(r"\1… ", error.message)  # first, for a value may hold anything
    return _PLACE.sub("[…]", _NEXT.split(masked)[0])
