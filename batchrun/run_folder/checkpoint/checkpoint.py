"""What a run folder remembers between two submits: finished tasks, unfinished ones, kept answers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from batchrun import codec
from batchrun.budget import Spend
from batchrun.index.repeats import repeats
from batchrun.prices import PriceOf
from batchrun.run_folder.checkpoint.sealed import (
    JournalContents,
    finished_answers,
    read_answers,
    seal,
    sealed_parts,
    sealed_table,
    write_parquet,
)
from batchrun.run_folder.checkpoint.spend import (
    finished_spend,
    forget_found,
    part_spends,
    read_dropped,
    unfinished_spend,
)
from batchrun.run_folder.damaged import readable
from batchrun.run_folder.disk import write_atomically
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.reading import Damage, journal_files
from batchrun.run_folder.journal.records import Answered, Sent
from batchrun.run_folder.parquet import read_file

PAIRS_SCHEMA = {"key": pl.UInt64, "hash": pl.UInt64}


@dataclass(slots=True)
class Checkpoint:
    """A checkpoint as it was found.

    `unfinished` maps their numbers to the tasks that were under way, each with what had
    been received for it.
    """

    folder: Path
    unsealed: dict[int, list[History]] = field(default_factory=dict)
    """Finished tasks of journal files that have no sealed part yet, by the file's number."""
    unfinished: dict[int, History] = field(default_factory=dict)
    """By task number."""
    admitted: dict[str, Any] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    """Calls sent since `admitted` was taken."""
    back_offs: list[tuple[Sent, Answered]] = field(default_factory=list)
    """Calls refused for now (429, 503) since then."""
    damage: list[Damage] = field(default_factory=list)
    journals: dict[int, Path] = field(default_factory=dict)
    _highest: int | None = None
    """Of the numbers of finished tasks; None until they have been read."""

    @property
    def next_number(self) -> int:
        """The number of the next journal file."""
        return max([0, *self.journals, *sealed_parts(self.folder)]) + 1

    def seal(self) -> None:
        """Write what is finished and not sealed yet as sealed parts.

        Journal files go when no task in them is unfinished. For the holder of the lock alone.
        """
        for number, finished in self.unsealed.items():
            seal(finished, self.folder, number)
        self.unsealed.clear()
        if self.unfinished:
            forget_found(self.folder, self.unfinished)
        else:
            self.retire_journals()

    def retire_journals(self) -> None:
        """Remove the journal files, whose records are elsewhere by now.

        One with a damaged record in the middle is kept aside: what was received may still be in it.
        """
        damaged = {damage.path for damage in self.damage if not damage.is_tail}
        for path in self.journals.values():
            if path in damaged:
                path.rename(path.with_name(f"damaged-{path.name}"))
            else:
                path.unlink()
        self.journals.clear()

    def answers(self) -> pl.DataFrame:
        """All finished tasks, by ANSWERS_SCHEMA; a negative part is an unsealed journal file's."""
        unsealed = [finished_answers(-number, finished) for number, finished in self.unsealed.items()]
        sealed = read_answers(self.folder)
        found = pl.concat([sealed, *unsealed]) if unsealed else sealed
        highest = found["task"].max()
        self._highest = highest if isinstance(highest, int) else 0
        if repeats(found["task"]):  # parts that were being merged when `gc` was killed
            return found.unique("task", keep="last", maintain_order=True)
        return found

    def next_task(self) -> int:
        """A task number that no record has yet. For the holder of the lock, before it asks for a row."""
        if self._highest is None:
            self.answers()
        return max([self._highest or 0, *self.unfinished]) + 1

    def unsealed_tables(self) -> dict[int, pa.Table]:
        """The finished tasks that are not sealed yet, as tables of SEALED_SCHEMA."""
        return {number: sealed_table(finished) for number, finished in self.unsealed.items()}

    def waiting(self) -> dict[tuple[int, str], list[tuple[int, History]]]:
        """The unfinished tasks by the key and request hash of their row."""
        found: dict[tuple[int, str], list[tuple[int, History]]] = {}
        for task, history in sorted(self.unfinished.items()):
            first = next(iter(history.sent.values()), None)
            if first is not None:
                found.setdefault((first.key, first.request_hash), []).append((task, history))
        return found

    def spend(self, price_of: PriceOf) -> Spend:
        """What the run has taken of its budget so far."""
        if not self.folder.exists():
            return Spend()
        sums = unfinished_spend(self.unfinished, price_of) | read_dropped(self.folder)
        for path in sealed_parts(self.folder).values():
            sums |= part_spends(path)
        total = sum(sums.values(), start=Spend())
        for finished in self.unsealed.values():
            total += finished_spend(finished)
        return total

    def possibly_paid(self) -> int:
        """Calls of unfinished tasks that have no answer."""
        return sum(len(history.sent.keys() - history.answered.keys()) for history in self.unfinished.values())


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read what the journal files hold. Changes nothing on disk.

    Raises RunFolderError when a file was written by a newer batchrun.
    """
    found = Checkpoint(folder, admitted=_read_admitted(folder), journals=journal_files(folder))
    sealed = sealed_parts(folder)
    finished: set[int] = set()
    for number, path in found.journals.items():
        contents = JournalContents(path)
        found.damage += contents.damage
        if contents.admitted:
            found.admitted, found.sent, found.back_offs = contents.admitted, [], []
        found.sent += contents.sent
        found.back_offs += contents.back_offs
        if contents.finished and number not in sealed:
            found.unsealed[number] = contents.finished
        finished.update(history.done.task for history in contents.finished if history.done)
        for task, history in contents.unfinished.items():
            found.unfinished.setdefault(task, History()).merge(history)
    if found.unfinished:  # a later file may have been sealed where an earlier one could not be
        finished.update(read_answers(folder)["task"])
    for task in finished & found.unfinished.keys():
        del found.unfinished[task]
    return found


def _read_admitted(folder: Path) -> dict[str, Any]:
    try:
        state = codec.loads((folder / "admitted.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def write_admitted(folder: Path, state: dict[str, Any]) -> None:
    """Remember what the rate windows and pauses hold at the end of a submit, for the next one."""
    write_atomically(folder / "admitted.json", codec.dumps(state))


def read_kept(folder: Path) -> pl.DataFrame:
    """The rows (key, hash) whose older answer the user keeps. Raises RunFolderError when that is damaged."""
    return read_pairs(folder / "kept.parquet")


def read_pairs(path: Path) -> pl.DataFrame:
    """The pairs of key and request hash in a file, which may not be there. Raises RunFolderError."""
    with suppress(FileNotFoundError), readable(path):
        return read_file(path).select(*PAIRS_SCHEMA)
    return pl.DataFrame(schema=PAIRS_SCHEMA)


def write_kept(folder: Path, kept: pl.DataFrame) -> None:
    """Remember them."""
    table = kept.unique().to_arrow()
    write_parquet([table], folder / "kept.parquet", table.schema)
