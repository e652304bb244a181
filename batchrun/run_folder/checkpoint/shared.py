"""Which rows showed the answer to another row's identical request when they were published.

No record in the journal says so: without this, an edit of the prompt would take them for new rows.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from batchrun.index import State
from batchrun.index.sharing import HOLDER
from batchrun.run_folder.checkpoint.checkpoint import read_pairs
from batchrun.run_folder.checkpoint.sealed import write_parquet

_FILE = "shared.parquet"


def read_shared(checkpoint: Path) -> pl.DataFrame:
    """The pairs of key and request hash, oldest first. Raises RunFolderError when they are damaged."""
    return read_pairs(checkpoint / _FILE)


def remember_shared(checkpoint: Path, states: pl.DataFrame) -> None:
    """Add those of `states` (see `index.match`) that share an answer to their own request, newest last;
    they have HOLDER."""
    sharing = pl.col(HOLDER).is_not_null() & ~pl.col("state").is_in([int(State.KEPT), int(State.CHANGED)])
    now = states.filter(sharing).select("key", "hash")
    before = read_shared(checkpoint)
    after = pl.concat([before, now]).unique(keep="last", maintain_order=True)
    if not after.equals(before):
        table = after.to_arrow()
        write_parquet([table], checkpoint / _FILE, table.schema)
