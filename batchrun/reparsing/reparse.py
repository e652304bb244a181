"""`reparse`: the stored answers of a run read by the job's present schema, and recorded as answers to it.

Each answer that is read becomes a further finished task, beside the one that it was, under the hash of the
request as it is now; what is recorded once is found done the next time. Tasks are written as sealed parts,
each there whole or not at all: cut short anywhere, the same command goes on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count

import polars as pl

from batchrun.engines.control import SEAL_BYTES, SEAL_ROWS
from batchrun.errors import ChangedRowsError, InputError, JobError, StorageError
from batchrun.index import Identified, State
from batchrun.job import Job, load_job
from batchrun.outcome import Completed, Error, Failed
from batchrun.prices import ModelPrices
from batchrun.progress.display import Progress
from batchrun.remote.work import held_run
from batchrun.reparsing.counting import Reparsed, Tally
from batchrun.reparsing.reading import reread
from batchrun.reparsing.rows import OLDER, PLACED, as_answered, asked, known_rows, open_rows
from batchrun.reparsing.stored import stored
from batchrun.run_folder.checkpoint.checkpoint import Checkpoint
from batchrun.run_folder.checkpoint.row_groups import bytes_of, gathered
from batchrun.run_folder.checkpoint.sealed import seal
from batchrun.run_folder.disk import write_atomically
from batchrun.run_folder.folder import RunFolder, storage_of
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.lock import locked
from batchrun.run_folder.log import open_log
from batchrun.source import Row
from batchrun.submitting.changes import edited_since
from batchrun.submitting.edits import FORM
from batchrun.submitting.finishing import Ending
from batchrun.submitting.opening import open_run
from batchrun.summary import Counters
from batchrun.survey.layout import result_types
from batchrun.survey.survey import Survey, take_survey
from batchrun.wording import counted


def preview(job: Job, *, env: Mapping[str, str], progress: Progress) -> Reparsed:
    """Say what `reparse` would come to. Nothing is written.

    Raises as `reparse`.
    """
    with held_run(job, progress.say):
        run = _run_of(job)
        with storage_of(run), locked(run.lock):
            older = _older(job, run, env, progress)
            progress.phase(f"reading {job.input.place}")
            work = _Reparse(take_survey(job, on_rows=progress.read, keep_index=False), older, progress)
            for _task in work.tasks():
                pass
            return work.result(dry_run=True)


def reparse(job: Job, *, env: Mapping[str, str], progress: Progress) -> Reparsed:
    """Read the stored answers by the job's schema, record what they are to it, and publish the results.

    Raises RunLockedError while a submit is running, ChangedRowsError when the job was edited otherwise, too,
    RunFolderError, JobError, InputError and StorageError.
    """
    started = time.time()
    with held_run(job, progress.say) as remote:
        run = _run_of(job)
        result = _reparse(job, run, env, progress, started)
        if remote:
            progress.phase(f"uploading to {job.output_address}")
            remote.finish()
        return result


def _reparse(
    job: Job, run: RunFolder, env: Mapping[str, str], progress: Progress, started: float
) -> Reparsed:
    with storage_of(run), locked(run.lock), open_log(run.log) as log:
        older = _older(job, run, env, progress)  # before the index of the last submit is replaced
        survey = open_run(job, run, progress, log)
        work = _Reparse(survey, replace(older, checkpoint=survey.checkpoint), progress)
        del older  # its index is held in memory
        result_types(survey.renderer).save(run.checkpoint_path)
        _record(work, survey.checkpoint)
        read = work.result()
        # not before the last answer is recorded: until then it says what the others were asked
        if read.reread or work.known:
            write_atomically(run.job_yaml, survey.renderer.snapshot().encode())
        last = run.read_run_json()
        ending = Ending(job, run, ModelPrices(job, started), Counters(), progress, started, last)
        result = replace(read, summary=ending.finish(survey))
        log("reparse", rows=result.reread, ok=result.ok, failed=result.failed)
        return result


def _run_of(job: Job) -> RunFolder:
    run = RunFolder(job.output_path)
    run.require()
    run.claim(job.name)
    return run


def _older(job: Job, run: RunFolder, env: Mapping[str, str], progress: Progress) -> Survey:
    """The job's rows as they were asked in the form of the last submit."""
    progress.phase(f"reading {job.input.place} as it was asked")
    try:
        before = load_job(run.job_yaml, env=env, cwd=job.folder, folder=job.folder)
    except JobError as error:
        raise JobError(
            error.message,
            hint="This is the run folder's copy of the job: it says by which schema the answers were read. "
            "Put that right, as by setting a variable that it names; without it, submit asks anew.",
        ) from error
    return take_survey(as_answered(job, before), on_rows=progress.read, keep_index=False)


class _Reparse:
    """One reading of the rows of `survey` that have answers in the form of `older`.

    Raises ChangedRowsError.
    """

    def __init__(self, survey: Survey, older: Survey, progress: Progress) -> None:
        self.tally = Tally()
        self._found = survey
        self._progress = progress
        self._asked_as = older.identifier
        _refuse_other_files(survey, older)
        before = older.states().select(OLDER)  # one after the other: each takes some 40 bytes a row
        now = survey.states()
        self.known = known_rows(now, before)
        rows = open_rows(now, before)
        del now, before
        _refuse_others(survey, rows)
        self._open = len(rows)
        self._left = Counter(_waiting(rows.filter(~pl.col(PLACED))))
        self._asked = asked(rows)

    def tasks(self) -> Iterator[History]:
        """The answers that can be read, in input order, as finished tasks for the rows as they are now."""
        if self._asked.is_empty():
            return
        found, checkpoint = self._found, self._found.checkpoint
        numbers = count(checkpoint.next_task())
        self._progress.phase(f"reading {counted(len(self._asked), 'stored answer')} by the new schema")
        inputs = found.source.rows_at(self._asked["row_index"])
        sharing = self._asked["rows"]
        for row, history, rows in zip(inputs, stored(checkpoint, self._asked), sharing, strict=True):
            identified = found.identifier.identify(row)
            task = _task(history, identified, row.index, next(numbers))
            if task is not None:
                self._require_same(row, history)
            self._count(history, task, rows)
            self._progress.read(self.tally.reread)
            if task is not None:
                yield task

    def _require_same(self, row: Row, history: History) -> None:
        """Raises InputError where the answer is to another question than the one that this row asks by now:
        between the two readings a line, or a file that it names, may have changed."""
        assert history.done is not None, "a finished task"
        if self._asked_as.identify(row).request_hash != history.done.request_hash:
            raise InputError(
                f"{row.location}: the row changed while the input was read",
                hint="Run the same command again: what has been recorded holds.",
            )

    def _count(self, before: History, task: History | None, rows: int) -> None:
        assert before.done is not None, "a finished task"
        outcome = before.done.outcome
        if task is not None and task.done is not None:
            self.tally.note(task.done, task.done.row_id, rows, was_ok=isinstance(outcome, Completed))
        elif isinstance(outcome, Failed):
            self._left[outcome.error.type] += rows

    def result(self, *, dry_run: bool = False) -> Reparsed:
        """What it came to, once all tasks were taken."""
        tally, rows = self.tally, self._found.facts.rows
        return Reparsed(
            name=self._found.job.name,
            rows=rows,
            done=rows - self._open,
            reread=tally.reread,
            ok=tally.ok,
            failed=tally.errors.total(),
            now_ok=tally.now_ok,
            now_failed=tally.now_failed,
            errors=dict(tally.errors.most_common()),
            reasons=tally.reasons(),
            left=dict(self._left.most_common()),
            dry_run=dry_run,
        )


def _refuse_other_files(survey: Survey, older: Survey) -> None:
    """Raises InputError where a file that the templates include was changed between the two readings."""
    now, before = survey.renderer.templates.included, older.renderer.templates.included
    for name in now.keys() & before.keys():
        if now[name] != before[name]:
            raise InputError(
                f"{name} changed while the input was read",
                hint="Nothing was written. Run the same command again.",
            )


def _task(history: History, row: Identified, row_index: int, number: int) -> History | None:
    """The task that has the same records, and its outcome for the row as it is now; None where there is none.

    Its calls are the earlier task's: they count against no budget again (`Continues.first`).
    """
    if isinstance(row.request, Error):
        return None
    read = reread(history, row.request)
    if read is None:
        return None
    task = history.continued(number, frozenset())
    done = replace(
        read,
        task=number,
        row=row_index,
        row_id=row.row_id,
        key=row.key,
        request_hash=row.request_hash,
        spend=None,
    )
    task.add(done, encode(done))
    return task


def _record(work: _Reparse, checkpoint: Checkpoint) -> None:
    """Write the tasks as sealed parts, each durable when the next is begun."""
    try:
        for finished in gathered(work.tasks(), bytes_of, SEAL_BYTES, SEAL_ROWS):
            seal(finished, checkpoint.folder, checkpoint.next_number)
    except StorageError as error:
        raise StorageError(
            error.message,
            hint="Every answer is kept. Free some space or mend the disk, then reparse again: it goes on.",
        ) from error


def _refuse_others(survey: Survey, rows: pl.DataFrame) -> None:
    """Raises ChangedRowsError where an edit beyond the form of the answers leaves rows without theirs."""
    others = [name for name in edited_since(survey) if name not in FORM]
    if not others:
        return
    changed = rows.filter(~pl.col(PLACED) & (pl.col("state") == State.CHANGED))
    if changed.is_empty() and (rows[PLACED].any() or len(rows) < survey.facts.rows):
        return  # what was edited stands in no request
    verb = "has" if len(others) == 1 else "have"
    raise ChangedRowsError(
        f"{' and '.join(others)} {verb} changed, too, since the answers were given: whatever the schema is, "
        "they are answers to another request",
        hint="Take that edit back and reparse, then make it again and submit. Or let `batchrun submit` ask "
        "anew: --rerun-changed replaces the answers, --name NEW keeps both.",
    )


def _waiting(rows: pl.DataFrame) -> dict[str, int]:
    """Rows that have nothing to read, by what they wait for (see `Reparsed.left`)."""
    named = {State.NEW: "pending", State.CHANGED: "changed", State.KEPT: "stale"}
    left: Counter[str] = Counter()
    for state, error_type, number in rows.group_by("state", "error_type").len().iter_rows():
        left[named.get(State(state)) or error_type] += number
    return left
