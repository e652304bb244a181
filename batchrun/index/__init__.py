"""The index pass, and what its rows mean beside the answers in a checkpoint."""

from batchrun.index.index import (
    ROWS_SCHEMA,
    UNBOUNDED,
    Facts,
    Identified,
    Identifier,
    Index,
    build,
    failure_hash,
)
from batchrun.index.matching import State, counts, match

__all__ = [
    "ROWS_SCHEMA",
    "UNBOUNDED",
    "Facts",
    "Identified",
    "Identifier",
    "Index",
    "State",
    "build",
    "counts",
    "failure_hash",
    "match",
]
