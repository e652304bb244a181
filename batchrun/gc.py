"""`gc`: drop the answers in a checkpoint that no row of the job stands for any more.

What a kill leaves at any point is whole. First the journal is sealed and replaced as a submit does it:
what takes its place is on disk before it goes. Then each sealed part is rewritten in place, by one rename;
no answer moves, so none is ever in two places or in none. Small parts are merged last, into the first of
them: until the others are removed an answer may stand in two parts, under one task number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import anyio
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from batchrun.clock import SystemClock
from batchrun.codec import hash_prefix
from batchrun.engines.restore import gates
from batchrun.job import Job
from batchrun.prices import ModelPrices
from batchrun.remote.work import held_run
from batchrun.run_folder.checkpoint.checkpoint import write_admitted
from batchrun.run_folder.checkpoint.row_groups import row_groups, sliced
from batchrun.run_folder.checkpoint.sealed import SEALED_SCHEMA, schema_with, sealed_parts, write_parquet
from batchrun.run_folder.checkpoint.spend import Spends, keep_dropped, part_spends, unfinished_spend
from batchrun.run_folder.disk import sync_folder
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.journal.records import Admitted
from batchrun.run_folder.leftovers import sweep
from batchrun.run_folder.lock import locked
from batchrun.run_folder.results.read import replaced, see
from batchrun.survey.survey import Survey, take_survey

Say: TypeAlias = Callable[[str], None]

FULL = 5_000
FULL_BYTES = 64_000_000
"""Answers of a part that is not merged with others, and their bytes in memory, about: parts that are merged
are held together."""


def _nobody(_text: str) -> None:
    """There is nobody to tell."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """What was dropped, or would be.

    Attributes:
        answers: finished askings that no row stands for.
        kept: those that stay.
        unfinished: askings cut off by a kill, of rows that are gone or were edited.
        bytes: of the checkpoint's parts and journals before.
        bytes_after: afterwards; None when nothing was done.
        small: parts that are put together with others, or would be.
    """

    answers: int
    kept: int
    unfinished: int
    bytes: int
    bytes_after: int | None = None
    small: int = 0


def preview(job: Job, *, say: Say = _nobody) -> Garbage:
    """Say what `collect` would drop. Raises RunLockedError while a submit is running.

    `say` is told what becomes of a run in object storage.
    """
    run = RunFolder(job.output_path)
    with held_run(job, say):
        run.require()
        with locked(run.lock):
            survey = take_survey(job, on_rows=lambda _rows: None, keep_index=False)
            return _garbage(survey, _kept(survey))


def collect(job: Job, *, say: Say = _nobody) -> Garbage:
    """Drop it, under the run folder's lock. Raises as `preview`."""
    run = RunFolder(job.output_path)
    with held_run(job, say) as remote:
        run.require()
        with locked(run.lock):
            garbage = _collect(job, run)
        if remote:
            remote.finish()
        return garbage


def _collect(job: Job, run: RunFolder) -> Garbage:
    sweep(run)
    survey = take_survey(job, on_rows=lambda _rows: None, keep_index=True)
    if survey.checkpoint.journals:
        write_admitted(run.checkpoint_path, gates(survey.job, survey.checkpoint, SystemClock()).snapshot())
    survey.checkpoint.seal()
    kept = _kept(survey)
    before = _garbage(survey, kept)
    (run.checkpoint_path / "published.json").unlink(missing_ok=True)  # it names answers by their places
    if survey.checkpoint.journals:
        wanted = set(_wanted(survey))
        unfinished = survey.checkpoint.unfinished.items()
        orphans = {task: history for task, history in unfinished if task not in wanted}
        prices = ModelPrices(job, SystemClock().wall())
        keep_dropped(run.checkpoint_path, unfinished_spend(orphans, prices.of_name))
        anyio.run(_renew_journal, survey)
    _drop(run.checkpoint_path, kept)
    _merge(run.checkpoint_path)
    return replace(before, bytes_after=_size(run.checkpoint_path))


def _kept(survey: Survey) -> pl.DataFrame:
    """The places (part, position) of the answers that a row stands for.

    Where a submit could not publish, also of those that the results still show in place of newer ones:
    readers must know whose they are, or would see such rows twice.
    """
    answered = survey.states().filter(pl.col("part").is_not_null())
    kept = answered.select("part", "position").unique()  # equal requests may share one
    shown = replaced(see(survey.run))
    if shown.is_empty():
        return kept
    older = survey.checkpoint.answers().filter(pl.col("task").is_in(shown["_task"].implode()))
    return pl.concat([kept, older.select("part", "position")]).unique()


def _garbage(survey: Survey, kept: pl.DataFrame) -> Garbage:
    answers = len(survey.checkpoint.answers())
    orphans = len(survey.checkpoint.unfinished) - len(_wanted(survey))
    small = sum(map(len, _groups(survey.run.checkpoint_path)))
    return Garbage(answers - len(kept), len(kept), orphans, _size(survey.run.checkpoint_path), small=small)


def _size(checkpoint: Path) -> int:
    patterns = ("sealed-*.parquet", "journal-*.log")
    return sum(path.stat().st_size for pattern in patterns for path in checkpoint.glob(pattern))


def _wanted(survey: Survey) -> list[int]:
    """The unfinished tasks whose request the job still has, by task number."""
    requests = set(survey.rows["hash"])
    return [
        task
        for (_key, request_hash), tasks in survey.checkpoint.waiting().items()
        if hash_prefix(request_hash) in requests
        for task, _history in tasks
    ]


async def _renew_journal(survey: Survey) -> None:
    """Replace the journal files by one with what is still wanted of them, pauses and rates included."""
    checkpoint, clock = survey.checkpoint, SystemClock()
    journal = Journal(checkpoint.folder, checkpoint.next_number, clock)
    for task in _wanted(survey):
        journal.carry(task, checkpoint.unfinished[task].lines)
    journal.append(Admitted(gates(survey.job, checkpoint, SystemClock()).snapshot()))
    await journal.sync()
    journal.close()
    checkpoint.retire_journals()
    sync_folder(checkpoint.folder)


def _drop(checkpoint: Path, kept: pl.DataFrame) -> None:
    """Rewrite each part that holds anything else than `kept`."""
    for number, path in sealed_parts(checkpoint).items():
        positions = kept.filter(pl.col("part") == number)["position"].sort()
        if len(positions) == pq.read_metadata(path).num_rows:
            continue
        if positions.is_empty():
            keep_dropped(checkpoint, part_spends(path))
            path.unlink()
            continue
        _write(_chosen(path, positions), path, part_spends(path))
    sync_folder(checkpoint)


def _chosen(path: Path, positions: pl.Series) -> Iterator[pa.Table]:
    """The rows of a part at `positions` (ascending), of one row group after another."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        start = 0
        for group in range(file.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            chosen = positions.filter(positions.is_between(start, end, closed="left")) - start
            if len(chosen):
                yield file.read_row_group(group).take(chosen.to_arrow())
            start = end


def _merge(checkpoint: Path) -> None:
    """Put neighbouring small parts together."""
    for group in _groups(checkpoint):
        tables = [pq.read_table(path, schema=SEALED_SCHEMA) for path in group]
        order = [("row_index", "ascending"), ("_task", "ascending")]
        spend = {name: one for path in group for name, one in part_spends(path).items()}
        _write([pa.concat_tables(tables).sort_by(order)], group[0], spend)
        for path in group[1:]:
            path.unlink()
        sync_folder(checkpoint)


def _write(tables: Iterable[pa.Table], path: Path, spend: Spends) -> None:
    """Replace a part, whose footer goes on counting what its dropped tasks took."""
    write_parquet(row_groups(chain.from_iterable(map(sliced, tables))), path, schema_with(spend))


def _groups(checkpoint: Path) -> Iterator[list[Path]]:
    """Runs of two or more parts that make no more than one full part together."""
    group: list[Path] = []
    rows = size = 0
    for path in sealed_parts(checkpoint).values():
        about = pq.read_metadata(path)
        more = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
        if group and (rows + about.num_rows > FULL or size + more > FULL_BYTES):
            yield from [group] if len(group) > 1 else []
            group, rows, size = [], 0, 0
        group.append(path)
        rows, size = rows + about.num_rows, size + more
    if len(group) > 1:
        yield group
