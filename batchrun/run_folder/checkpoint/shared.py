"""Which rows showed the answer to another row's identical request when they were published.

No record in the journal says so: without this, an edit of the prompt would take them for new rows.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import polars as pl

from batchrun.index import State
from batchrun.index.sharing import HOLDER
from batchrun.run_folder.checkpoint.sealed import write_parquet
from batchrun.run_folder.damaged import readable

SHARED_SCHEMA = {"key": pl.UInt64, "hash": pl.UInt64}
_FILE = "shared.parquet"


def read_shared(checkpoint: Path) -> pl.DataFrame:
    """The pairs of key and request hash, oldest first. Raises RunFolderError when they are damaged."""
    with suppress(FileNotFoundError), readable(checkpoint / _FILE):
        return pl.read_parquet(checkpoint / _FILE, memory_map=False).select(*SHARED_SCHEMA)
    return pl.DataFrame(schema=SHARED_SCHEMA)


def remember_shared(checkpoint: Path, states: pl.DataFrame) -> None:
    """Add those of `states` (see `index.match`) that share an answer to their own request, newest last."""
    if HOLDER not in states.columns:
        return
    sharing = pl.col(HOLDER).is_not_null() & ~pl.col("state").is_in([int(State.KEPT), int(State.CHANGED)])
    now = states.filter(sharing).select("key", "hash")
    before = read_shared(checkpoint)
    after = pl.concat([before, now]).unique(keep="last", maintain_order=True)
    if not after.equals(before):
        table = after.to_arrow()
        write_parquet([table], checkpoint / _FILE, table.schema)
