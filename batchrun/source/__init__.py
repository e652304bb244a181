"""Rows in: JSONL, CSV, Parquet, OpenAI batch files and other runs, read as a stream of small batches."""

from __future__ import annotations

from batchrun.source.batch import Batch
from batchrun.source.column_types import ColumnTypes
from batchrun.source.files import Format, SourceFile
from batchrun.source.marks import Mark, marks
from batchrun.source.messages import message_list
from batchrun.source.opening import Source, open_run, open_source
from batchrun.source.overrides import OVERRIDES, missing_column
from batchrun.source.rows import Row

__all__ = [
    "OVERRIDES",
    "Batch",
    "ColumnTypes",
    "Format",
    "Mark",
    "Row",
    "Source",
    "SourceFile",
    "marks",
    "message_list",
    "missing_column",
    "open_run",
    "open_source",
]
