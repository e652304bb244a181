"""What a checkpoint keeps of batches that are with a provider: a record of each, and the rows in it.

Both are on disk before a batch is created, so that no kill can make a second one of the same rows; they go
when its answers are in the journal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from batchrun import codec
from batchrun.budget import Amounts
from batchrun.run_folder.checkpoint.sealed import write_parquet
from batchrun.run_folder.damaged import readable
from batchrun.run_folder.disk import sync_folder, write_atomically

NONE = "none"
"""What is said of a batch that the provider does not have."""

_NAME = re.compile(r"batch-([0-9a-f]+)\.json")

ROWS = pa.schema(
    [
        ("task", pa.int64()),
        ("call", pa.int32()),
        ("row", pa.int64()),
        ("key", pa.uint64()),
        ("hash", pa.uint64()),
        ("request_hash", pa.string()),
        ("step", pa.int32()),
        ("ask", pa.string()),
        ("tokens", pa.int64()),
        ("bound_usd", pa.float64()),
        ("bound_tokens", pa.int64()),
    ]
)
"""A line for each request of a batch: whose it is, and the most that it can take."""


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A batch that may be with the provider; times in seconds since the epoch.

    Attributes:
        stem: names its files in the checkpoint.
        name: what the batch is stamped with, which no other batch is; a new one for each time it is created.
        endpoint, model, model_index: who is asked, as in `records.Sent`.
        named: the model that the rows name themselves, where the job leaves it to them.
        tokens: of its prompts, as they are estimated.
        bound_usd, bound_tokens: the most that it can take; None where that is not known.
        file_id: the provider's, of the requests.
        began: when rows were first given to a batch, for `finish_by`.
        at: when it was created, or that was about to be tried.
        batch_id: the provider's; empty while it is not known whether it was created.
        status, done, failed: as the provider told last.
    """

    stem: str
    name: str
    endpoint: str
    model: str
    model_index: int
    named: str
    lines: int
    tokens: int
    bound_usd: float | None
    bound_tokens: int | None
    file_id: str
    began: float
    at: float
    batch_id: str = ""
    status: str = ""
    done: int = 0
    failed: int = 0

    @property
    def bound(self) -> Amounts:
        """The most that it can take of the budget."""
        return Amounts(self.bound_usd, self.bound_tokens, self.lines)

    @property
    def is_known(self) -> bool:
        """Whether the provider is known to have it."""
        return bool(self.batch_id)


def read_records(checkpoint: Path) -> list[BatchRecord]:
    """Those that are kept, oldest first. Raises RunFolderError when one is damaged."""
    found = []
    for path in checkpoint.glob("batch-*.json"):
        if _NAME.fullmatch(path.name):
            with readable(path):
                found.append(record_of(path.read_bytes()))
    return sorted(found, key=lambda record: (record.at, record.stem))


def record_of(data: bytes) -> BatchRecord:
    """The record in a file. Raises ValueError, TypeError and LookupError for others'."""
    document = codec.loads(data)
    return BatchRecord(
        **{name: document[name] for name in BatchRecord.__dataclass_fields__ if name in document}
    )


def keep_record(checkpoint: Path, record: BatchRecord) -> None:
    """Write it, in place of what was known of it. Raises StorageError."""
    write_atomically(_path(checkpoint, record, "json"), codec.dumps(asdict(record)) + b"\n")


def drop_record(checkpoint: Path, record: BatchRecord, *, rows: bool = True) -> None:
    """Forget a batch, record first, for rows without one are no batch; its `rows` may stay for another."""
    _path(checkpoint, record, "json").unlink(missing_ok=True)
    sync_folder(checkpoint)
    if rows:
        _path(checkpoint, record, "parquet").unlink(missing_ok=True)


def forget_strays(checkpoint: Path) -> None:
    """Remove the rows of batches that have no record: they were never created. For the holder of the lock."""
    stems = {record.stem for record in read_records(checkpoint)}
    for path in checkpoint.glob("batch-*.parquet"):
        if path.stem.removeprefix("batch-") not in stems:
            path.unlink()


def keep_rows(checkpoint: Path, stem: str, rows: Mapping[str, list[Any]]) -> None:
    """Write the rows of a batch, by the columns of ROWS but `hash`. Raises StorageError."""
    hashes = [codec.hash_prefix(one) for one in rows["request_hash"]]
    table = pa.table({**rows, "hash": hashes}, schema=ROWS)
    write_parquet([table], checkpoint / f"batch-{stem}.parquet", ROWS)


def read_rows(checkpoint: Path, record: BatchRecord, columns: list[str] | None = None) -> pl.DataFrame:
    """The rows of a batch. Raises RunFolderError when they are damaged or gone."""
    path = _path(checkpoint, record, "parquet")
    with readable(path):
        if not path.exists():
            raise ValueError("the file is gone")
        found = pl.from_arrow(pq.read_table(path, columns=columns, memory_map=False))
        assert isinstance(found, pl.DataFrame)
        return found


def _path(checkpoint: Path, record: BatchRecord, suffix: str) -> Path:
    return checkpoint / f"batch-{record.stem}.{suffix}"
