"""A run as one side of a comparison: its rows, some at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import polars as pl

from batchrun import codec
from batchrun.errors import UsageError
from batchrun.run_folder.damaged import readable
from batchrun.run_folder.diagnosis import reading
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.results.read import ANSWER, Seen, rows_by_part, scan_seen, see
from batchrun.show.show import input_columns

Columns: TypeAlias = Callable[[pl.Schema], Sequence[pl.Expr]]
"""What is wanted of rows with this schema."""

KEY = pl.col("row_id").hash().alias("key")
"""What stands for a row's id where many rows are held: 8 bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A run that is compared.

    Attributes:
        name: what it is called among the others.
        rows: all of them, as `scan_seen` gives them, with their `schema`.
        seen: the run as it was when it was opened.
    """

    name: str
    run: RunFolder
    rows: pl.LazyFrame
    schema: pl.Schema
    seen: Seen

    @property
    def inputs(self) -> pl.Schema:
        """The columns of its input."""
        return pl.Schema({name: self.schema[name] for name in input_columns(self.schema.names())})

    def frames(self, columns: Columns) -> Iterator[pl.DataFrame]:
        """These columns of all rows, in no order, some thousands at a time.

        Raises RunFolderError for a damaged folder.
        """
        with reading(self.run):
            for part in rows_by_part(self.seen):
                present = part.collect_schema().names()
                missing = [(name, kind) for name, kind in self.inputs.items() if name not in present]
                rows = part.with_columns(pl.lit(None, kind).alias(name) for name, kind in missing)
                yield rows.select(columns(rows.collect_schema())).collect()

    def at(self, places: pl.DataFrame, columns: Columns) -> pl.DataFrame:
        """`row_index`, `answer` and these columns of the rows with these two, in no order.

        Raises RunFolderError for a damaged folder.
        """
        wanted = places.drop_nulls()
        near = pl.col("row_index").is_between(wanted["row_index"].min(), wanted["row_index"].max())
        rows = self.rows.filter(near).join(  # skips row groups by their statistics
            wanted.lazy(), left_on=["row_index", ANSWER], right_on=["row_index", "answer"], how="semi"
        )
        with reading(self.run):
            return rows.select("row_index", *columns(self.schema), answer=ANSWER).collect()


def sides_of(runs: Sequence[RunFolder]) -> list[Side]:
    """The runs as sides, the base first.

    Raises UsageError for fewer than two runs and for one that is named twice, RunFolderError for a damaged
    one.
    """
    if len(runs) < 2:
        raise UsageError(
            f"diff compares two runs or more, and {len(runs) or 'none'} was named",
            hint="Name a job file (.yaml) or a run folder for each: batchrun diff A B",
        )
    folders = [run.path.resolve() for run in runs]
    for place, folder in enumerate(folders):
        if folder in folders[:place]:
            raise UsageError(
                f"{folder} is named twice",
                hint="A job has one run for each --name: name another run's folder.",
            )
    names = short_names([(_name(run), folder) for run, folder in zip(runs, folders, strict=True)])
    return [_side(run, name) for run, name in zip(runs, names, strict=True)]


def short_names(runs: Sequence[tuple[str, Path]]) -> list[str]:
    """A name for each run, given its own and its folder: no two are alike.

    The run's own; where runs share one, the last parts of their folders, as many as tell them apart. The
    folders are absolute, and no two the same.
    """
    parts = [0] * len(runs)
    names = [run for run, _ in runs]
    while len(times := Counter(names)) < len(names):
        parts = [count + (times[name] > 1) for name, count in zip(names, parts, strict=True)]
        names = [_last_parts(run, path, count) for (run, path), count in zip(runs, parts, strict=True)]
    return names


def _last_parts(run: str, path: Path, parts: int) -> str:
    if not parts:
        return run
    return "/".join(path.parts[-parts:]) if parts < len(path.parts) else str(path)


def _name(run: RunFolder) -> str:
    with readable(run.identity_path):
        return str(codec.loads(run.identity_path.read_bytes()).get("name"))


def _side(run: RunFolder, name: str) -> Side:
    with reading(run):
        seen = see(run)
        rows = scan_seen(seen)
        return Side(name, run, rows, rows.collect_schema(), seen)
