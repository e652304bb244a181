"""Answers to an older request that rows still stand by: nothing has taken their place yet."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import polars as pl

from batchrun import codec
from batchrun.index import State, match
from batchrun.run_folder.checkpoint.checkpoint import read_kept
from batchrun.run_folder.checkpoint.sealed import ANSWERS_SCHEMA
from batchrun.run_folder.checkpoint.shared import read_shared
from batchrun.run_folder.checkpoint.shares import filtered


def has_ids(checkpoint: Path) -> bool:
    """Whether the rows of the last index pass have ids of their own; True where it does not say."""
    with suppress(FileNotFoundError, ValueError):  # a submit that runs writes it anew
        return bool(codec.loads((checkpoint / "index.json").read_bytes()).get("has_ids", True))
    return True


def older_answers(
    checkpoint: Path, current: pl.DataFrame, tasks: pl.DataFrame, fresh: pl.DataFrame
) -> pl.DataFrame:
    """Those of `fresh` that rows stand by although they answer another request than theirs.

    `current` is the index, `tasks` all finished tasks (see `read.see`), `fresh` those of them
    that the results do not show. A submit that was refused, or killed before it had asked again, leaves
    such answers: the rows are `CHANGED` or `KEPT`.
    """
    older = filtered(fresh.filter("ok"), current, {"_key": "key", "_hash": "hash"}, "anti")
    if len(older):
        older = filtered(older, current, {"_key": "key"}, "semi")
    if older.is_empty():  # as it is nearly always: the rows need no matching
        return older
    answers = tasks.select(
        "part",
        pl.col("_task").alias("position"),  # names the task, which is all that is wanted
        pl.col("_task").alias("task"),
        pl.col("_key").alias("key"),
        pl.col("_hash").alias("hash"),
        "ok",
        pl.lit(None, ANSWERS_SCHEMA["error_type"]).alias("error_type"),
    )
    rows = match(
        current,
        answers,
        read_kept(checkpoint),
        has_ids=has_ids(checkpoint),
        shared=read_shared(checkpoint),
    )
    stood_by = rows.filter(pl.col("state").is_in([int(State.CHANGED), int(State.KEPT)]))
    return older.join(stood_by, left_on="_task", right_on="position", how="semi")
