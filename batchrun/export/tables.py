"""Rows of the results as a table in one of the formats that hold columns."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO

import polars.selectors as cs

from batchrun.export.formats import Table
from batchrun.run_folder.diagnosis import reading
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import scan_seen, see, unpublished
from batchrun.show.show import Choice, choose, input_columns, named_columns


@dataclass(frozen=True, slots=True)
class Exported:
    """How many rows were written, and how many of them lack columns of the input that will come."""

    rows: int
    without_input: int


def export_table(
    run: RunFolder,
    form: Table,
    target: AbstractContextManager[IO[bytes]],
    *,
    where: str | None,
    columns: str | None,
) -> Exported:
    """Write the rows for which `where` holds, by all columns or those that are named (`show.named_columns`).

    A piece of some megabytes is held at a time. The target is opened when nothing can be wrong with the
    choice any more. Raises UsageError, and RunFolderError for a damaged folder.
    """
    with reading(run):
        seen = see(run)
        rows = scan_seen(seen)
        names = rows.collect_schema().names()
        rows, named = named_columns(rows, columns)
        wanted = named or names
        chosen = choose(rows, Choice(where=where))
        schema = rows.select(cs.by_name(wanted)).collect_schema()
        with target as sink:
            form.writer().write(schema, chosen.pieces(wanted), sink)
    if inputs := input_columns(names):
        lacking = not set(wanted).isdisjoint(inputs)
    else:  # the first publication brings them
        lacking = columns is None and not run.results.exists()
    bare = chosen.found.join(unpublished(seen), on=["row_index", "answer"], how="semi")
    return Exported(len(chosen.found), len(bare) if lacking else 0)
