"""Reading a run, whatever state it is in: published results, and what the checkpoint has beyond them.

Nothing here takes the lock or writes: a submit may be running, or have been killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from batchrun.index.repeats import repeats
from batchrun.index.sharing import SENDABLE
from batchrun.run_folder.checkpoint.checkpoint import Checkpoint, read_checkpoint
from batchrun.run_folder.checkpoint.older import older_answers
from batchrun.run_folder.checkpoint.sealed import sealed_parts
from batchrun.run_folder.checkpoint.shares import filtered
from batchrun.run_folder.checkpoint.upgrade import scan_part
from batchrun.run_folder.columns.columns import COLUMNS_OF_ALL_VERSIONS, RESULT_SCHEMA
from batchrun.run_folder.columns.layout import input_names
from batchrun.run_folder.columns.typed import read_types
from batchrun.run_folder.damaged import readable
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.parquet import read_file, scan_files
from batchrun.run_folder.results.retyped import results_schema, retyped_rows, typed_rows

_TRIES = 10
_IDENTITY = ["_hash", "finished_at"]
"""What tells the answers of a run apart, in the results and in the checkpoint."""
_TASK = ["_task", "_key", "row_index", "status", *_IDENTITY]
_REQUEST = pl.col("request_hash").str.head(16).str.to_integer(base=16, dtype=pl.UInt64, strict=False)

ANSWER = pl.struct(_REQUEST, "finished_at").hash()
"""8 bytes that tell a row's answer apart in the results. With `row_index` they tell the row apart; that alone
does not: without ids, what was answered since the publication may have the number of a published row."""


def read_steadily(folder: Path) -> Checkpoint:
    """`read_checkpoint`, also while a submit seals journal files and removes them."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):  # a journal that was sealed between listing and reading
            return _without_sealed(read_checkpoint(folder))
    return _without_sealed(read_checkpoint(folder))


def _without_sealed(found: Checkpoint) -> Checkpoint:
    for number in found.unsealed.keys() & sealed_parts(found.folder).keys():
        del found.unsealed[number]
    return found


@dataclass(frozen=True, slots=True)
class Seen:
    """What was in a run folder at one time: who reads its rows more than once decodes its journal once, and
    reads the same rows each time.

    Attributes:
        parts: those of the published results.
        unsealed: finished tasks of journal files that have no sealed part, by the file's number.
        since: rows answered since the publication, one line for each: the task whose answer counts. `part` is
            the sealed part it is in (negative: an unsealed journal file), `replaces` lists the `row_index` of
            published rows that it takes the place of, `stale` says that it answers an older request.
    """

    run: RunFolder
    parts: list[Path]
    checkpoint: Checkpoint
    unsealed: dict[int, pa.Table]
    since: pl.DataFrame


def see(run: RunFolder) -> Seen:
    """Look into a run folder. A submit may publish meanwhile: the parts that were there stay readable."""
    parts = published_parts(run)
    checkpoint = read_steadily(run.checkpoint_path)
    unsealed = checkpoint.unsealed_tables()
    return Seen(run, parts, checkpoint, unsealed, _since(parts, checkpoint, unsealed))


def scan_run(run: RunFolder) -> pl.LazyFrame:
    """The rows of a run, by the results' columns, in input order; `scan_seen` says which."""
    return scan_seen(see(run))


def scan_seen(seen: Seen) -> pl.LazyFrame:
    """The rows of a run as it was seen, by the results' columns, in input order.

    Those published, and those answered since: their input columns are null until the next submit
    publishes them. A row that was asked again stands here once, with the answer that counts: the one to
    its request as it is now, else, `stale`, the newest to an older one. Rows that share another's answer
    stand as they were published last.
    """
    since, types = seen.since, read_types(seen.run.checkpoint_path)
    published = _published(seen.parts) if seen.parts else None
    if since.is_empty():
        return pl.DataFrame(schema=results_schema(types)).lazy() if published is None else published
    fresh = [typed_rows(rows, types) for rows in _rows(seen)]
    if published is None:
        return pl.concat(fresh).sort("row_index")
    published = retyped_rows(published, pq.read_schema(seen.parts[0]), types)
    replaced = since.select(pl.col("replaces").explode()).drop_nulls()
    kept = published.join(replaced.lazy(), left_on="row_index", right_on="replaces", how="anti")
    return pl.concat([kept, *fresh], how="diagonal").sort("row_index")


def unpublished(seen: Seen) -> pl.DataFrame:
    """The rows that were answered since the publication, by `row_index` and `answer` (ANSWER)."""
    return seen.since.select("row_index", answer=pl.struct(*_IDENTITY).hash())


def published_parts(run: RunFolder) -> list[Path]:
    """The parts of the published results, in the order of their rows, each of them sound; none before the
    first publication. Raises FileNotFoundError where they have been removed."""
    if not run.results.exists():
        return []
    generation = run.results.resolve()  # this one, if another is swapped in
    parts = sorted(generation.glob("*.parquet"))
    if not parts:
        raise FileNotFoundError(f"{run.results} holds no part")
    for path in parts:
        with readable(path):
            _require_results(path)
    return parts


def _require_results(part: Path) -> None:
    """Raises ValueError for a table that something else has put there."""
    names = pq.read_schema(part).names
    if missing := [name for name in COLUMNS_OF_ALL_VERSIONS if name not in names]:
        raise ValueError(f"it holds no results: there is no column `{missing[0]}`")


def _published(parts: list[Path]) -> pl.LazyFrame:
    """The rows of parts, their input columns called as they are published now: an older version did not have
    every column of ours, and one of the input's may have had its name."""
    rows = scan_files(parts)
    names = rows.collect_schema().names()
    inputs = names[names.index("row_id") + 1 : names.index("status")]
    return rows.rename(dict(zip(inputs, input_names(inputs, RESULT_SCHEMA.names), strict=True)))


def rows_by_part(seen: Seen) -> Iterator[pl.LazyFrame]:
    """The rows of `scan_seen` in no order, some thousands at a time.

    Those that were not published yet are without their input columns.
    """
    types = read_types(seen.run.checkpoint_path)
    replaced = seen.since.select(pl.col("replaces").explode()).drop_nulls().lazy()
    for part in seen.parts:
        rows = retyped_rows(_published([part]), pq.read_schema(part), types)
        yield rows.join(replaced, left_on="row_index", right_on="replaces", how="anti")
    yield from (typed_rows(rows, types) for rows in _rows(seen))


def replaced(seen: Seen) -> pl.DataFrame:
    """Finished tasks (`_task`) that the published results show although answers since take their place.

    By them it is known which published rows are replaced.
    """
    rows = seen.since.select(row_index=pl.col("replaces").explode()).drop_nulls()
    shown = _shown(seen.parts).join(rows, on="row_index", how="semi")
    return _tasks(seen.checkpoint, seen.unsealed).join(shown, on=_IDENTITY, how="semi").select("_task")


def _since(parts: list[Path], checkpoint: Checkpoint, unsealed: dict[int, pa.Table]) -> pl.DataFrame:
    folder, tasks, shown = checkpoint.folder, _tasks(checkpoint, unsealed), _shown(parts)
    fresh = filtered(tasks, shown, {name: name for name in _IDENTITY}, "anti")
    fresh = fresh.with_columns(stale=pl.lit(value=False))
    if fresh.is_empty():
        return fresh.with_columns(replaces=pl.lit(None, pl.List(pl.Int64)))
    older = fresh.clear()
    if (index := folder / "index.parquet").exists():  # it says which requests are today's
        with readable(index):
            current = read_file(index)
        older = older_answers(folder, current, tasks, fresh).with_columns(stale=pl.lit(value=True))
        fresh = filtered(fresh, current, {"_key": "key", "_hash": "hash"}, "semi")
        if SENDABLE in current.columns:  # an equal request went well: its answer stands for this one's, too
            well = tasks.join(shown, on=_IDENTITY, how="semi").filter("ok")
            fresh = pl.concat(
                [fresh.filter("ok"), fresh.filter(~pl.col("ok")).join(well, on="_hash", how="anti")]
            )
    fresh = pl.concat([fresh, older]).sort("ok", "_task")
    if repeats(fresh["_key"]):
        fresh = fresh.unique(["_key", "row_index"], keep="last", maintain_order=True)
    rivals = filtered(tasks, fresh, {"_key": "_key"}, "semi") if len(shown) else tasks.clear()
    return _without_superseded(fresh, rivals.join(shown, on=_IDENTITY, suffix="_shown"))


def _shown(parts: list[Path]) -> pl.DataFrame:
    """Published rows that show an answer of their own, by `row_index` and what tells the answer apart."""
    schema = _task_schema()
    found = [pl.DataFrame(schema={name: schema[name] for name in ["row_index", *_IDENTITY]})]
    for part in parts:
        rows = scan_files(part)
        own = "duplicate_of" not in rows.collect_schema() or pl.col("duplicate_of").is_null()
        found.append(rows.filter(own).select("row_index", _REQUEST.alias("_hash"), "finished_at").collect())
    return pl.concat(found)


def _without_superseded(fresh: pl.DataFrame, shown: pl.DataFrame) -> pl.DataFrame:
    """Pair answers with the published rows of the same key, and drop those that change nothing.

    Equal rows of an input without ids share a key: among them, the position in the input decides.
    """
    published = shown.select("_key", "_hash", "_task", "ok", "row_index_shown")
    pairs = fresh.drop("part").join(published, on="_key", suffix="_shown")
    alone = pl.col("row_index_shown").n_unique().over("_key") == 1
    pairs = pairs.filter(alone | (pl.col("row_index") == pl.col("row_index_shown")))
    worse = ~pl.col("ok") & pl.col("ok_shown")
    older = (pl.col("ok") == pl.col("ok_shown")) & (pl.col("_task") < pl.col("_task_shown"))
    superseded = pairs.filter((pl.col("_hash") == pl.col("_hash_shown")) & (worse | older))
    replaces = pairs.group_by("_task").agg(replaces=pl.col("row_index_shown").cast(pl.Int64))
    return fresh.join(superseded, on="_task", how="anti").join(replaces, on="_task", how="left")


def _tasks(checkpoint: Checkpoint, journals: dict[int, pa.Table]) -> pl.DataFrame:
    """All finished tasks, by the columns that tell whose they are."""
    sealed = []
    for number, path in sealed_parts(checkpoint.folder).items():
        with readable(path):
            rows = read_file(path, _TASK)
        sealed.append(rows.with_columns(part=pl.lit(number, pl.Int32)))
    unsealed = [
        pl.DataFrame(table.select(_TASK)).with_columns(part=pl.lit(-number, pl.Int32))
        for number, table in journals.items()
    ]
    schema = {**_task_schema(), "part": pl.Int32()}
    tasks = pl.concat([pl.DataFrame(schema=schema), *sealed, *unsealed])
    if repeats(tasks["_task"]):  # parts that were being merged when `gc` was killed
        tasks = tasks.unique("_task", keep="last", maintain_order=True)
    return tasks.with_columns(ok=pl.col("status") == "ok")


def _rows(seen: Seen) -> Iterator[pl.LazyFrame]:
    """The rows that were answered since the publication."""
    folder = seen.run.checkpoint_path
    sealed = sealed_parts(folder)
    recorded = (name for name in RESULT_SCHEMA.names if name not in ("duplicate_of", "stale"))
    columns = [*recorded, "_task"]
    for (part,), tasks in seen.since.partition_by("part", as_dict=True).items():
        if part < 0:
            rows = pl.DataFrame(seen.unsealed[-part].select(columns)).lazy()
        else:
            rows = scan_part(sealed[part])
        chosen = rows.select(columns).join(tasks.lazy().select("_task", "stale"), on="_task")
        nobody = pl.lit(None, pl.String).alias("duplicate_of")
        yield chosen.drop("_task").with_columns(nobody).select(RESULT_SCHEMA.names)


def _task_schema() -> dict[str, pl.DataType]:
    schema = results_schema()
    ours: dict[str, pl.DataType] = {"_task": pl.Int64(), "_key": pl.UInt64(), "_hash": pl.UInt64()}
    return {name: ours.get(name) or schema[name] for name in _TASK}
