"""The job's checks: what they count, settled before the first call, and counted in the published results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from batchrun.errors import JobError
from batchrun.job import Check, Job
from batchrun.job.checking.known import did_you_mean
from batchrun.predicate import Predicate, PredicateError
from batchrun.run_folder.damaged import readable
from batchrun.summary import CheckOutcome

_OK, _FAILED = "status = 'ok'", "status = 'failed'"
_LONGEST = 300
_PLAIN = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_HINT = "Count `failed` or `ok` rows, a column of the results, or an SQL condition over them."


@dataclass(frozen=True, slots=True)
class Counted:
    """Which rows a check counts.

    Attributes:
        rows: the condition that holds for them.
        others: one that holds for all other rows, also where `rows` is null.
    """

    rows: Predicate
    others: str


def require_checks(job: Job, columns: pa.Schema) -> None:
    """Raises JobError for a check that cannot be applied to results of these columns."""
    for check in job.checks:
        counted_by(job, check, columns)


def counted_by(job: Job, check: Check, columns: pa.Schema) -> Counted:
    """Which rows of results with these columns a check counts.

    `failed` and `ok` are rows of that status. The name of a column, or of a struct's member after a dot,
    stands for the rows where it is true, or, when it is no bool, where it is not null. All else is SQL.
    Raises JobError.
    """
    counts, others = _conditions(check.name, columns)
    where = job.where("checks", check.name)
    try:
        rows = Predicate(counts)
    except PredicateError as error:
        raise JobError(f"{where}: {error}", hint=_HINT) from error
    if not rows.looks_at_one_row:
        raise JobError(
            f"{where}: the condition sets a row against others (an aggregate or OVER)",
            hint="The results are read in parts: write the number itself, as in latency > 3.5.",
        )
    for name in rows.columns:
        if name not in columns.names:
            raise _unknown(job, check, name, columns)
    fields = [field for field in columns if field.name in rows.columns]
    try:  # without rows it shows already whether types and members fit
        rows.choose_from(pl.DataFrame(pa.schema(fields).empty_table()))
    except PredicateError as error:
        types = "; ".join(f"{field.name}: {field.type}" for field in fields)
        raise JobError(f"{where}: {error}", hint=f"Columns that it names: {types}") from error
    return Counted(rows, others)


def evaluate(job: Job, columns: pa.Schema, results: Path) -> tuple[CheckOutcome, ...]:
    """Count in the published results what the job's checks are about; `columns` are the results'.

    A check that does not fit the values, as a CAST of one that is no number, does not hold and says why.
    """
    counts = [_Count(job, check, columns) for check in job.checks]
    names = {name for count in counts for name in count.columns}
    rows = 0
    for frame in published_groups(results, sorted(names)):
        rows += frame.height
        for count in counts:
            count.add(frame)
    return tuple(count.outcome(rows) for count in counts)


def published_groups(results: Path, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """These columns of the parts below `results`, a row group at a time: answers may be large.

    Raises RunFolderError where a part is damaged.
    """
    for part in sorted(results.glob("*.parquet")):
        with readable(part), pq.ParquetFile(part, pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                yield pl.DataFrame(file.read_row_group(group, columns=list(columns), use_threads=False))


class _Count:
    """How many rows a check has found so far."""

    def __init__(self, job: Job, check: Check, columns: pa.Schema) -> None:
        self._check = check
        self._found = 0
        self._counted: Counted | None = None
        self._error: str | None = None
        try:
            self._counted = counted_by(job, check, columns)
        except JobError as error:  # no row of the input could be read, so its columns are not there
            self._error = error.message

    @property
    def columns(self) -> tuple[str, ...]:
        return self._counted.rows.columns if self._counted else ()

    def add(self, frame: pl.DataFrame) -> None:
        if self._counted is None or self._error is not None:
            return
        try:
            self._found += sum(self._counted.rows.choose_from(frame))
        except PredicateError as error:
            self._error = _told(error)

    def outcome(self, rows: int) -> CheckOutcome:
        wanted, error = self._check.wanted, self._error if rows else None
        holds = error is None and wanted.holds(self._found, rows)
        return CheckOutcome(
            name=self._check.name,
            wanted=str(wanted),
            found=None if error else self._found,
            rows=rows,
            share=self._found / rows if rows and not error else None,
            holds=holds,
            where=None if holds or error else self._against(rows),
            error=error,
        )

    def _against(self, rows: int) -> str | None:
        """The condition of the rows that speak against it, where there are any."""
        if self._counted is None:
            return None
        if self._check.wanted.asks_for_more(self._found, rows):
            return self._counted.others if self._found < rows else None
        return self._counted.rows.sql


def _told(error: PredicateError) -> str:
    """What is wrong with a value; polars lists some of them, and a value may be long."""
    text = str(error)
    remedy = "; TRY_CAST makes null of what does not fit" if "conversion from" in text else ""
    return (f"{text[:_LONGEST]}…" if len(text) > _LONGEST else text) + remedy


def _conditions(name: str, columns: pa.Schema) -> tuple[str, str]:
    """The SQL of the rows that a check counts, and of the others."""
    if name in ("ok", "failed"):
        return (_OK, _FAILED) if name == "ok" else (_FAILED, _OK)
    path = (name,) if name in columns.names else tuple(name.split("."))
    kind = _kind(path, columns)
    if kind is None:
        return name, _not_true(name)
    spelled = _spelled(path)
    if pa.types.is_boolean(kind):
        return spelled, _not_true(spelled)
    return f"{spelled} IS NOT NULL", f"{spelled} IS NULL"


def _not_true(condition: str) -> str:
    return f"NOT COALESCE({condition}, FALSE)"


def _kind(path: tuple[str, ...], columns: pa.Schema) -> pa.DataType | None:
    """The type of a column, or of a member of it; None where there is none."""
    here: pa.Schema | pa.DataType = columns
    for name in path:
        names = here.names if isinstance(here, pa.Schema) else _members(here)
        if name not in names:
            return None
        here = here.field(name).type
    return here


def _members(kind: pa.DataType) -> list[str]:
    return [kind.field(at).name for at in range(kind.num_fields)] if pa.types.is_struct(kind) else []


def _spelled(path: tuple[str, ...]) -> str:
    """A column as SQL has it, in quotes where it would be read as something else."""
    plain = ".".join(path)
    if _PLAIN.fullmatch(plain):
        with suppress(PredicateError):
            if Predicate(f"{plain} IS NULL").columns == path[:1]:
                return plain
    return ".".join('"' + name.replace('"', '""') + '"' for name in path)


def _unknown(job: Job, check: Check, column: str, columns: pa.Schema) -> JobError:
    near = did_you_mean(column, ["failed", "ok", *columns.names] if column == check.name else columns.names)
    return JobError(
        f"{job.where('checks', check.name)}: the results have no column `{column}`.{near}",
        hint=f"Columns of the results (output.columns says which of the input's): {', '.join(columns.names)}",
    )
