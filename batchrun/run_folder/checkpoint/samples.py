"""What answered rows took: every attempt, re-ask, turn and tool step of a row together."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from batchrun.run_folder.checkpoint.checkpoint import Checkpoint
from batchrun.run_folder.checkpoint.sealed import sealed_parts
from batchrun.run_folder.columns.columns import RESULT_SCHEMA

_COLUMNS = ["status", "model", "usage", "cost_usd", "attempts"]

_SENT = pl.col("attempts").list.eval(pl.element().struct.field("sent").cast(pl.Int64)).list.sum()

MOST = 2_000
"""Answered rows that are looked at: with more, an average hardly changes."""


def read_samples(checkpoint: Checkpoint, answered: pl.DataFrame) -> pl.DataFrame:
    """What the rows of `answered` took, by its `part` and `position` (see `index.match`).

    One line a row, for at most `MOST` rows spread evenly over them, an answer that several rows share
    counting once: `row_index`, `status`, `model`, `usage`, `cost_usd`, `calls` (that were sent), `batched`
    (of these, by a provider's batch), and `seconds` (of all its calls together). Raises FileNotFoundError
    when a file has gone meanwhile.
    """
    wanted = answered.select("part", "position", "row_index").drop_nulls()
    wanted = wanted.sort("part", "position", "row_index")
    place = pl.struct("part", "position")
    wanted = wanted.filter(place.ne_missing(place.shift()))
    wanted = wanted.gather_every(max(1, -(-len(wanted) // MOST)))
    sealed = sealed_parts(checkpoint.folder) if len(wanted) else {}
    unsealed = checkpoint.unsealed_tables() if wanted["part"].lt(0).any() else {}
    frames = []
    for (part,), rows in wanted.partition_by("part", as_dict=True).items():
        if part < 0:
            table = unsealed[-part].select(_COLUMNS)
        else:
            if part not in sealed:  # `gc` merged it meanwhile
                raise FileNotFoundError(f"sealed part {part}")
            table = pq.ParquetFile(sealed[part], pre_buffer=False).read(_COLUMNS, use_threads=False)
        frames.append(_sample(pl.DataFrame(table)[rows["position"]], rows["row_index"]))
    return pl.concat(frames) if frames else _sample(pl.DataFrame(_no_rows()), wanted["row_index"])


def _sample(taken: pl.DataFrame, row_index: pl.Series) -> pl.DataFrame:
    seconds = pl.col("attempts").list.eval(pl.element().struct.field("latency")).list.sum()
    rows = taken.with_columns(calls=_SENT, batched=_batched(taken), seconds=seconds).drop("attempts")
    return pl.DataFrame([row_index]).hstack(rows)


def _batched(taken: pl.DataFrame) -> pl.Expr:
    attempt = pl.element().struct
    kind = taken.schema["attempts"]
    assert isinstance(kind, pl.List)
    assert isinstance(kind.inner, pl.Struct)
    if all(field.name != "batch_id" for field in kind.inner.fields):  # of an earlier version
        return pl.lit(0, dtype=pl.Int64)
    by_batch = attempt.field("sent") & attempt.field("batch_id").is_not_null()
    return pl.col("attempts").list.eval(by_batch.cast(pl.Int64)).list.sum()


def _no_rows() -> pa.Table:
    return pa.schema([RESULT_SCHEMA.field(name) for name in _COLUMNS]).empty_table()
