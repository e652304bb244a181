"""A job's rows held against its checkpoint, to which a running submit may be adding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from batchrun.budget import Amounts
from batchrun.forecast import Forecast, forecast
from batchrun.index import match
from batchrun.index.sharing import HOLDER
from batchrun.job import Job
from batchrun.planning.left import spent_so_far
from batchrun.run_folder.checkpoint.batches import BatchRecord, read_rows
from batchrun.run_folder.checkpoint.checkpoint import PAIRS_SCHEMA, read_kept
from batchrun.run_folder.checkpoint.sealed import ANSWERS_SCHEMA
from batchrun.run_folder.checkpoint.shared import read_shared
from batchrun.run_folder.checkpoint.with_providers import recorded, with_held
from batchrun.submitting.changes import without_row
from batchrun.survey.survey import Survey, duplicates, take_survey, to_do

_TRIES = 5


@dataclass(frozen=True, slots=True)
class JobState:
    """What a job's input and checkpoint say together.

    Attributes:
        states: a line for each row (see `index.match`).
        to_do: those of them that a submit asks for.
        removed: rows that an answer belongs to, and that are gone; of equal rows without ids one counts.
        duplicates: rows that take the answer of an equal request that is asked (`dedupe`).
        forecast: what asking for them takes.
        spent: what counts against the budget already, with what batches that are under way can take.
        records: those that are with a provider, and `with_provider` the rows of them.
    """

    survey: Survey
    states: pl.DataFrame
    to_do: pl.DataFrame
    removed: int
    duplicates: int
    forecast: Forecast
    spent: Amounts
    records: tuple[BatchRecord, ...]
    with_provider: int


def inspect(
    job: Job,
    on_rows: Callable[[int], None],
    retry_failed: frozenset[str],
    now: float,
    *,
    rerun_changed: bool,
) -> JobState:
    """Read both; `on_rows` is told how many rows were read, `now` in seconds since the epoch."""
    for left_over in reversed(range(_TRIES)):
        try:
            survey = take_survey(job, on_rows=on_rows, keep_index=False)
            return _inspected(survey, retry_failed, now, rerun_changed=rerun_changed)
        except FileNotFoundError:  # a running submit sealed the journal file that was about to be read
            if not left_over:
                raise
    raise AssertionError


def _inspected(survey: Survey, retry_failed: frozenset[str], now: float, *, rerun_changed: bool) -> JobState:
    path = survey.run.checkpoint_path
    answers = survey.checkpoint.answers() if path.exists() else pl.DataFrame(schema=ANSWERS_SCHEMA)
    kept = pl.DataFrame(schema=PAIRS_SCHEMA) if rerun_changed else read_kept(path)  # as submit forgets it
    shared = read_shared(path)
    has_ids = survey.job.input.id is not None
    states = match(survey.rows, answers, kept, has_ids=has_ids, retry_failed=retry_failed, shared=shared)
    removed = _removed(answers, states)
    del answers
    wanted = to_do(states, rerun_changed=rerun_changed)
    records = recorded(path)
    wanted, with_provider = _not_there(survey, wanted, records)
    expected = forecast(survey, states, wanted, now=now)
    spent = with_held(spent_so_far(survey, now), records)
    return JobState(
        survey,
        states,
        wanted,
        removed,
        duplicates(states, rerun_changed=rerun_changed),
        expected,
        spent,
        tuple(records),
        with_provider,
    )


def _not_there(survey: Survey, wanted: pl.DataFrame, records: list[BatchRecord]) -> tuple[pl.DataFrame, int]:
    """The rows of `wanted` that are not with a provider, and how many are."""
    if not records:
        return wanted, 0
    there = [read_rows(survey.run.checkpoint_path, record, ["key", "hash"]) for record in records]
    left = wanted.join(pl.concat(there), on=["key", "hash"], how="anti", maintain_order="left")
    return left, len(wanted) - len(left)


def _removed(answers: pl.DataFrame, states: pl.DataFrame) -> int:
    if HOLDER not in states.columns and states["part"].count() == len(answers):  # each answer has its row
        return 0
    return without_row(answers.select("key", "part", "position"), states)["key"].n_unique()
