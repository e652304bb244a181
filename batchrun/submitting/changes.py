"""What an edit means for rows that have their answers: none is paid for again unless the user chooses so."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from batchrun.codec import hash_prefix
from batchrun.errors import ChangedRowsError
from batchrun.forecast import price_of
from batchrun.index import State
from batchrun.job import Job
from batchrun.job.sections.rows import usual_id
from batchrun.job.snapshot import read_snapshot
from batchrun.run_folder.checkpoint.batches import NONE, read_records, read_rows
from batchrun.run_folder.checkpoint.checkpoint import read_kept, write_kept
from batchrun.run_folder.damaged import readable
from batchrun.run_folder.parquet import read_file
from batchrun.submitting.edits import edited, is_of_form
from batchrun.survey.survey import Survey
from batchrun.wording import counted

REPARSE = "`batchrun reparse` reads the answers by the new schema, without a call, "
"""The way that is open where nothing else than the schema has changed."""

KEEP = ", --keep-changed keeps the answers (marked stale) and uses the new prompt for new rows only"
"""The way that is open where rows were ok."""


def decide(survey: Survey, *, rerun: bool, keep: bool, retry_failed: Iterable[str]) -> pl.DataFrame:
    """The rows' states (see `index.match`), once the user has chosen what happens to changed rows.

    rerun: their answers are replaced, those that were kept before, too; keep: they stay. Raises
    ChangedRowsError where the choice is open.
    """
    checkpoint = survey.run.checkpoint_path
    if rerun:
        return survey.states(retry_failed, rerun=True)
    states = survey.states(retry_failed)
    changed = _not_with_provider(checkpoint, states.filter(pl.col("state") == State.CHANGED))
    unfit = failed_by_form(survey, states, retry_failed)
    if not ((changed.is_empty() and unfit.is_empty()) or keep):
        reparse = REPARSE if is_of_form(edited_since(survey)) else ""
        again = pl.concat([changed, unfit])
        raise ChangedRowsError(
            f"{counted(len(again), 'finished row')} would be paid for again, because the job or their "
            f"input has changed since they were answered: {price_of(survey, again, now=time.time())}",
            hint=f"Choose: {reparse}--rerun-changed replaces their answers, --name NEW keeps both"
            f"{'' if changed.is_empty() else KEEP}. Taking the edit back costs nothing.",
        )
    if (error := left_behind(survey, states)) is not None:
        raise error
    if changed.is_empty():
        return states
    write_kept(checkpoint, pl.concat([read_kept(checkpoint), changed.select("key", "hash")]))
    return survey.states(retry_failed)


def _not_with_provider(checkpoint: Path, changed: pl.DataFrame) -> pl.DataFrame:
    """Those of changed rows that nobody has chosen to ask again: the others are with a provider already."""
    for record in read_records(checkpoint) if len(changed) else ():
        changed = changed.join(read_rows(checkpoint, record, ["key", "hash"]), on=["key", "hash"], how="anti")
    return changed


def failed_by_form(survey: Survey, states: pl.DataFrame, retry_failed: Iterable[str]) -> pl.DataFrame:
    """The rows of `states` that would be asked anew although their answers only failed by a schema, and
    nothing else has been edited since: `reparse` reads them without a call. None if they are to be retried.
    """
    if "invalid_output" in retry_failed or not is_of_form(edited_since(survey)):
        return states.clear()
    unfit = survey.checkpoint.answers().filter(pl.col("error_type") == "invalid_output")
    return states.filter((pl.col("state") == State.NEW) & pl.col("key").is_in(unfit["key"].implode()))


def forget_replaced(checkpoint: Path, states: pl.DataFrame) -> None:
    """Keep the older answers no longer of rows that have one to their request by now."""
    kept = read_kept(checkpoint)
    if kept.is_empty():
        return
    answered = [int(state) for state in (State.OK, State.FAILED, State.RETRY)]
    left = kept.join(states.filter(pl.col("state").is_in(answered)), on=["key", "hash"], how="anti")
    if len(left) < len(kept):
        write_kept(checkpoint, left)


def left_behind(survey: Survey, states: pl.DataFrame) -> ChangedRowsError | None:
    """What to raise when edits of the job and of its rows, made at once, leave answers behind.

    Without ids a row is known by its request and by its content. Where both are others than before, its
    answer belongs to no row, and the row looks new.
    """
    new = states.filter(pl.col("state") == State.NEW)
    if new.is_empty() or not _asks_otherwise(survey):
        return None
    left = without_row(survey.checkpoint.answers().filter("ok"), states)
    left = left.filter(_were_rows(survey, left["hash"]))
    if left.is_empty():
        return None
    return ChangedRowsError(
        f"{counted(len(left), 'answer')} would be left behind, and {counted(len(new), 'row')} asked as new: "
        f"{price_of(survey, new, now=time.time())}. The job and its rows have both changed, and without ids "
        f"it cannot be told which rows were answered",
        hint="Choose: --rerun-changed asks them all, --name NEW keeps the old run as it is. Or make the two "
        "edits one after the other: submit the changed rows to the job as it was, then edit the job. "
        "input.id makes rows known by a column.",
    )


def without_row(answers: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """Those of `answers` that stand for no row of `states` (see `index.match`), and whose own row is gone."""
    has_row = pl.col("key").is_in(states["key"].implode())
    return answers.filter(~has_row).join(states, on=["part", "position"], how="anti", nulls_equal=False)


def _were_rows(survey: Survey, hashes: pl.Series) -> pl.Series:
    """Which of these answers' rows were there at the last submit: those that the results show.

    After one that did not come to its end all count.
    """
    if survey.run.read_run_json().get("state") in (None, "running") or not survey.run.results.exists():
        return hashes.is_not_null()
    shown: set[int] = set()
    for part in survey.run.results.glob("*.parquet"):
        with readable(part):
            rows = read_file(part, ["request_hash"])
        shown.update(map(hash_prefix, rows["request_hash"].drop_nulls()))
    return hashes.is_in(shown)


def edited_since(survey: Survey) -> list[str]:
    """The keys that change what is asked and are others than at the last submit; none before the first."""
    jobs = _jobs(survey)
    return edited(*jobs) if jobs else []


def _jobs(survey: Survey) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The job at the last submit and as it is now; None before the first."""
    before, now = read_snapshot(survey.run.job_yaml), read_snapshot(survey.renderer.snapshot())
    return None if before is None or now is None else (before, now)


def _asks_otherwise(survey: Survey) -> bool:
    """Whether the job asks something else than at the last submit, and its ids do not say of whom."""
    jobs = _jobs(survey)
    if jobs is None:
        return False
    ids = [_id(document) for document in jobs]
    if ids[0] == ids[1] is not None:
        return False
    return bool(edited(*jobs))


def _id(document: dict[str, Any]) -> str | None:
    section = document.get("input")
    if not isinstance(section, dict):
        return None
    return section.get("id") or usual_id(section.get("format"), section.get("run"))


def require_same(
    survey: Survey, states: pl.DataFrame, job: Job, *, rerun: bool, given: Mapping[str, str]
) -> None:
    """Raises ChangedRowsError where rows that are with a provider would be paid for twice.

    `given` says of batches by their stems which of the provider's they are; NONE gives one up.
    """
    checkpoint = survey.run.checkpoint_path
    records = [record for record in read_records(checkpoint) if given.get(record.stem) != NONE]
    if not records:
        return
    rows = pl.concat([read_rows(checkpoint, record, ["key", "hash"]) for record in records])
    are = "is" if len(rows) == 1 else "are"
    with_provider = f"{counted(len(rows), 'row')} {are} with a provider in {counted(len(records), 'batch')}"
    if not job.engine.by_batch:
        raise ChangedRowsError(
            f"{job.where('engine', 'kind')}: {with_provider}, and would be asked, and paid for, again",
            hint="Submit once more with engine.kind: provider_batch, which fetches what is answered: with "
            "engine.leftovers: realtime the other rows then go at once. `batchrun cancel` ends the batches "
            "first.",
        )
    changed = states.select("key", "hash").join(rows, on="key", suffix="_sent")
    changed = changed.filter(pl.col("hash") != pl.col("hash_sent"))
    if len(changed) and not rerun:
        raise ChangedRowsError(
            f"{with_provider}, and {len(changed):,} of them ask something else now: "
            "their answers would be paid for, and asked for again",
            hint="Choose: taking the edit back costs nothing, --rerun-changed asks these rows again and pays "
            "twice. `batchrun cancel` before that ends the batches: only what they have answered by then is "
            "paid for twice.",
        )
