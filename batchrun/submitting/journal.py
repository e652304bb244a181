"""The journal of a submit: opened with what earlier ones left under way, and sealed at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from batchrun.admission import Admission
from batchrun.clock import SystemClock
from batchrun.errors import StorageError
from batchrun.run_folder.checkpoint.checkpoint import Checkpoint, write_admitted
from batchrun.run_folder.checkpoint.sealed import JournalContents, seal
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.journal.records import Admitted
from batchrun.run_folder.room import Spare


@asynccontextmanager
async def open_journal(checkpoint: Checkpoint, admission: Admission) -> AsyncIterator[tuple[Journal, Spare]]:
    """A new journal file, and what is kept free on the disk for its end; sealed after the block.

    Raises StorageError. A journal that has failed is left as it is: the next submit reads it anew.
    """
    spare = Spare(checkpoint.folder)
    journal = await _opened(checkpoint, admission, spare)
    try:
        yield journal, spare
    finally:
        _put_away(journal, spare, Admitted(admission.snapshot()))


async def _opened(checkpoint: Checkpoint, admission: Admission, spare: Spare) -> Journal:
    """A journal that carries what was under way, on disk; only then may the old ones go."""
    journal = Journal(checkpoint.folder, checkpoint.next_number, SystemClock(), make_room=spare.give_up)
    spare.keep()
    for task, history in checkpoint.unfinished.items():
        journal.carry(task, history.lines)
    journal.append(Admitted(admission.snapshot()))
    await journal.sync()
    checkpoint.retire_journals()
    return journal


def _put_away(journal: Journal, spare: Spare, learned: Admitted) -> None:
    """Close and seal a journal."""
    with suppress(StorageError):  # else the calls in the journal say what was sent
        journal.append(learned)
    try:
        journal.check_place()
    finally:
        journal.close()
    spare.remove()
    if journal.failure:
        raise journal.failure
    with suppress(StorageError):
        write_admitted(journal.folder, learned.state)
    seal_file(journal.path, carried=False)


def seal_file(closed: Path, *, carried: bool) -> None:
    """Turn a closed journal file into a sealed part.

    The file stays when it holds the only records of an unfinished task: unless they are `carried` by the next
    file, on disk.
    """
    contents = JournalContents(closed)
    seal(contents.finished, closed.parent, int(closed.stem.rpartition("-")[2]))
    if carried or not contents.unfinished:
        closed.unlink()
