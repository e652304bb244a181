"""What a report says of a run, as text: how it stands, what failed, and some of its rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from batchrun.checks.verdict import given, sentence
from batchrun.job.snapshot import kept_schema
from batchrun.report.charts import Chart, charts, pauses
from batchrun.report.figures import Figures, figures
from batchrun.report.members import MOST
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import Seen, rows_by_part, scan_seen, see
from batchrun.show.conversation import NEEDED, Part, Turn, facts, turns
from batchrun.show.show import Choice, choose, input_columns
from batchrun.status.status import Status, status
from batchrun.wording import clean, clean_line, counted, duration, moment, tokens_of, usd

FAILURES = 1_000
"""Failed rows in a report, at most."""

SAMPLE = 200
"""Rows that went well in a report, drawn at random."""

_LONGEST = 2_000
"""Characters of one text."""

_ROW = 8_000
"""Characters of one row."""

_SHORT = 160
"""Characters of what stands for a row while it is folded."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table, all its texts safe to look at; `kind` is `ok` or its error type."""

    index: int
    row_id: str
    kind: str
    is_ok: bool
    gist: str
    turns: tuple[Turn, ...]
    took: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An error type, how many rows it took, and what one of them says."""

    kind: str
    rows: int
    example: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one of the job's checks holds, in a sentence; `error` says why it cannot be counted."""

    holds: bool
    text: str
    error: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that stands in a report.

    Attributes:
        facts: label and text, the most important first.
        checks: those that the job gives, as the last submit found them.
        charts: of all finished rows; `charts_note` says what they leave out.
        rows: in input order; all failures, or the first of them, and a sample of the others.
        failures_left_out, others_left_out: finished rows that are not among `rows`.
    """

    name: str
    state: str
    facts: tuple[tuple[str, str], ...]
    checks: tuple[Verdict, ...]
    charts: tuple[Chart, ...]
    charts_note: str
    failures: tuple[Failure, ...]
    failed: int
    rows: tuple[Row, ...]
    failures_left_out: int
    others_left_out: int


def gather(run: RunFolder, *, failures: int = FAILURES, sample: int = SAMPLE) -> Gathered:
    """Read a run, whatever state it is in; at most `failures` failed rows and `sample` others."""
    seen = see(run)
    found, rows, drawn = status(run, seen), scan_seen(seen), _figures(seen)
    failed = choose(rows, Choice(failed=frozenset(), limit=failures))
    others = choose(rows, Choice(where="status = 'ok'", sample=sample))
    present = rows.collect_schema().names()
    inputs = input_columns(present)
    columns = list(dict.fromkeys(["row_index", *inputs, *(name for name in NEEDED if name in present)]))
    told = [
        _row(row, inputs)
        for chosen in (failed, others)
        for frame in chosen.pieces(columns)
        for row in frame.iter_rows(named=True)
    ]
    return Gathered(
        name=clean_line(found.name),
        state=clean_line(found.state),
        facts=tuple((label, clean_line(text)) for label, text in _facts(found, run.read_run_json())),
        checks=tuple(_checks(found)),
        charts=tuple(charts(drawn)) if drawn else (),
        charts_note=" ".join(_charts_note(drawn)) if drawn else "",
        failures=tuple(_failures(found, rows)),
        failed=found.failed,
        rows=tuple(sorted(told, key=lambda row: row.index)),
        failures_left_out=failed.matching - len(failed.positions),
        others_left_out=others.matching - len(others.positions),
    )


def _facts(found: Status, said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if found.stopped_by:
        yield "stopped by", str(found.stopped_by["message"])
    rows = [f"{found.ok:,} ok", f"{found.failed:,} failed", f"{found.pending or 0:,} pending"]
    yield "rows", ", ".join(rows) + (f" ({found.stale:,} stale: of an older prompt)" if found.stale else "")
    since = "" if found.up_to_date else ", when the last submit ended"
    if tokens := tokens_of(found.usage):
        yield "tokens", f"{tokens}{since}"
    if found.cost_usd is not None:
        saved = f", {usd(found.saved_usd)} saved by the provider's cache" if found.saved_usd else ""
        yield "cost", f"{usd(found.cost_usd)}{saved}{since}"
    latency = said.get("latency") or {}
    if quantiles := [f"{name} {duration(value)}" for name, value in latency.items() if value is not None]:
        yield "latency", ", ".join(quantiles) + since
    if found.possibly_paid:
        yield "unanswered", f"{counted(found.possibly_paid, 'call')} sent without an answer: possibly paid"
    if last := found.last_submit:
        spent = f"{counted(last['rows'], 'row')} in {duration(last['seconds'])}"
        yield "last submit", f"{moment(last['started_at'])}, {spent}"


def _checks(found: Status) -> Iterator[Verdict]:
    pending = found.pending or 0
    for check in given(found.checks, pending=pending):
        text = sentence(check, pending=pending)
        yield Verdict(check.holds, text, clean_line(check.error or ""))


def _figures(seen: Seen) -> Figures | None:
    """What is drawn of a run; what the schema enumerates is known from the job as it was submitted last."""
    return figures(lambda: rows_by_part(seen), kept_schema(seen.run.job_yaml, os.environ))


def _charts_note(drawn: Figures) -> Iterator[str]:
    if text := pauses(drawn):
        yield text
    if drawn.left_out:
        yield f"Members of parsed beyond the first {MOST} are left out: {drawn.left_out}."


def _failures(found: Status, rows: pl.LazyFrame) -> Iterator[Failure]:
    first = rows.filter(pl.col("status") == "failed").group_by("error_type")
    message = pl.col("error").struct.field("message").first()
    messages = dict(first.agg(message).collect().iter_rows())
    for kind, number in found.errors.items():
        yield Failure(clean_line(kind), number, _cut(clean_line(messages.get(kind) or ""), 300))


def _row(row: Mapping[str, Any], inputs: list[str]) -> Row:
    kind = "ok" if row["status"] == "ok" else (row["error"] or {}).get("type") or "failed"
    told = tuple(_turns(row, inputs))
    answers = [turn for turn in told if turn.role.startswith(("assistant", "error"))] or told
    first = next((part for turn in reversed(answers) for part in turn.parts), Part(""))
    return Row(
        index=row["row_index"],
        row_id=clean_line(str(row["row_id"])),
        kind=clean_line(kind),
        is_ok=row["status"] == "ok",
        gist=_gist(clean(" ".join(f"{first.label}{first.text}".split()))),
        turns=told,
        took=clean_line(" · ".join([*facts(row), *(["stale"] if row["stale"] else [])])),
    )


def _turns(row: Mapping[str, Any], inputs: list[str]) -> Iterator[Turn]:
    left = _ROW
    for turn in turns(row, inputs):
        parts = []
        for part in turn.parts:
            text = _cut(part.text, min(_LONGEST, left))
            left -= min(left, len(text))
            parts.append(Part(clean(text).rstrip("\n"), clean_line(part.label), part.kind))
        yield Turn(clean_line(turn.role), tuple(parts))


def _gist(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[:_SHORT]} …"


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{text[:longest]} … ({len(text) - longest:,} more characters)"
