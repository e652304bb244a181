"""Trying a case: what becomes of it, and what is wrong about that.

`surveyed` reads the input, renders every row and types the columns, all but the asking; `submitted` runs
the job against a simulator too, and reads the simulator's ledger and the results.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from batchrun.errors import BatchrunError
from batchrun.job import load_job
from batchrun.job.env_file import read_env_file
from batchrun.outcome import Error
from batchrun.selection import Selection
from batchrun.survey.survey import Survey, take_survey
from tests.reliability.corpus.case import ASKED, Case
from tests.reliability.corpus.sameness import is_kept, is_sent
from tests.runs import JobFolder

NOTHING = object()
"""Stands for a value that a row has not."""


@dataclass(slots=True)
class Seen:
    """What became of a case."""

    refusal: str | None = None
    code: int = 0
    crash: str | None = None
    failures: dict[int, str] = field(default_factory=dict)
    """Row, from 0, to the message of its failure."""
    sent: dict[int, Any] = field(default_factory=dict)
    """Row to the value in its request's body."""
    kept: dict[int, Any] = field(default_factory=dict)
    """Row to the value in the results."""
    variables: Mapping[str, str] | None = None


def prepared(case: Case, folder: Path, base_url: str) -> JobFolder:
    """The case's files and its job file, in `folder`."""
    folder.mkdir(parents=True)
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(path)
    job = JobFolder(folder)
    if isinstance(case.job, bytes):
        job.job.write_bytes(case.job)
        return job
    usual: dict[str, Any] = {
        "input": {"path": case.name_of},
        "prompt": {"messages": [{"role": "user", "content": "{{ value | tojson }}"}]},
        "request": ASKED,
    }
    job.write(base_url, **usual | dict(case.job))
    return job


def surveyed(case: Case, job: JobFolder) -> Seen:
    """All but the asking."""
    seen = Seen()
    with _ended(seen):
        if case.env_file is not None:
            seen.variables = read_env_file(job.folder / case.env_file)
            return seen
        survey = take_survey(load_job(job.job, env={}, cwd=job.folder), on_rows=_unheard, keep_index=False)
        _look(survey, seen, typed=case.values is not None)
        seen.code = int(bool(seen.failures))
    return seen


def submitted(case: Case, job: JobFolder, ledger: Path, offset: int) -> Seen:
    """The whole run; `offset` is where the ledger ended before it."""
    seen = Seen()
    with _ended(seen):
        summary = job.submit_here()
        seen.code = summary.exit_code
        table = job.results()
        kept = table["value"].to_list() if "value" in table.columns else [NOTHING] * table.height
        for row, (error, value) in enumerate(zip(table["error"].to_list(), kept, strict=True)):
            if error:
                seen.failures[row] = error["message"]
            elif value is not NOTHING:
                seen.kept[row] = value
        bodies = list(_bodies(ledger, offset))
        answered = [row for row in range(table.height) if row not in seen.failures]
        seen.sent = dict(zip(answered, _in_order(bodies, case, answered), strict=False))
    return seen


def _in_order(bodies: list[dict[str, Any]], case: Case, rows: list[int]) -> Iterator[Any]:
    """The bodies' values in the order of the rows: calls run side by side, and none says its row.

    NOTHING where the job sends the value as a part of a text.
    """
    left = [body.get("value", NOTHING) for body in bodies]
    for row in rows:
        wanted = case.values[row] if case.values is not None and row < len(case.values) else NOTHING
        at = next((at for at, value in enumerate(left) if is_sent(wanted, value)), 0)
        if left:
            yield left.pop(at)


def _bodies(ledger: Path, offset: int) -> Iterator[dict[str, Any]]:
    with ledger.open("rb") as file:
        file.seek(offset)
        for line in file:
            event = json.loads(line, parse_float=Decimal)
            if event.get("body"):
                yield event["body"]


class _ended:  # noqa: N801 - reads as a word of a `with`
    """Takes down how the command would have ended."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, BatchrunError):
            self._seen.refusal, self._seen.code = str(error), error.exit_code
        elif isinstance(error, Exception):
            self._seen.crash = "".join(traceback.format_exception(error)[-4:])
        return isinstance(error, Exception)


def _unheard(_rows: int) -> None: ...


def _look(survey: Survey, seen: Seen, *, typed: bool) -> None:
    position = 0
    for batch, chosen in Selection(survey.source, survey.job).batches():
        table = batch.arrow(survey.columns)
        has_column = typed and "value" in table.column_names
        kept = table["value"].to_pylist() if has_column else [NOTHING] * len(batch.rows)
        wanted = {row.index for row in chosen}
        for row, value in zip(batch.rows, kept, strict=True):
            if row.index not in wanted:
                continue
            request = survey.identifier.identify(row).request
            if isinstance(request, Error):
                seen.failures[position] = request.message
            else:
                body = json.loads(request.body(0), parse_float=Decimal)
                seen.sent[position] = body.get("value", NOTHING)
                if value is not NOTHING:
                    seen.kept[position] = value
            position += 1


def faults(case: Case, seen: Seen) -> Iterator[str]:
    """What is not as the case demands: crashes, wrong ends, changed values."""
    if seen.crash:
        yield f"crashed: {seen.crash}"
        return
    if case.refused is not None or seen.refusal is not None:
        yield from _refusal(case, seen)
        return
    if case.variables is not None and seen.variables != case.variables:
        yield f"gave {seen.variables}"
    for row, pattern in case.failed.items():
        if not re.search(pattern, seen.failures.get(row, "")):
            yield f"row {row} was to fail with {pattern!r}, and said {seen.failures.get(row)!r}"
    if not case.either and (surplus := seen.failures.keys() - case.failed.keys()):
        yield f"row {min(surplus)} failed: {seen.failures[min(surplus)]}"
    yield from _changed(case, seen)


def _refusal(case: Case, seen: Seen) -> Iterator[str]:
    if seen.refusal is None:
        yield f"was to be refused with {case.refused!r}, and ran"
    elif case.either and seen.code == 2:
        return
    elif case.refused is None:
        yield f"was refused: {seen.refusal}"
    elif seen.code != 2 or not re.search(case.refused, seen.refusal):
        yield f"was to be refused with {case.refused!r}, and said {seen.code}: {seen.refusal!r}"


def _changed(case: Case, seen: Seen) -> Iterator[str]:
    if case.values is None:
        return
    if not case.either and len(case.values) != len(seen.sent) + len(seen.failures):
        yield f"{len(case.values)} values in, {len(seen.sent)} sent and {len(seen.failures)} failed"
    for row, value in seen.sent.items():
        if value is not NOTHING and not is_sent(case.values[row], value):
            yield f"changed: row {row} sent {ascii(value)[:200]} for {ascii(case.values[row])[:200]}"
    for row, value in seen.kept.items():
        if not is_kept(case.values[row], value):
            yield f"changed: row {row} kept {ascii(value)[:200]} for {ascii(case.values[row])[:200]}"
