"""Room on the disk: what a run wants to see free, and the spare file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import anyio
import pytest

from batchrun.errors import StorageError
from batchrun.run_folder.journal import Journal, JournalReader
from batchrun.run_folder.room import SPARE, TO_END, Spare, free, reserve, too_little
from tests.reliability.storage import small_disk
from tests.run_folder.recorded import sent
from tests.run_folder.test_journal import HandClock


@pytest.mark.parametrize(
    ("journal", "answers", "under_way", "expected"),
    [
        (0, 0, 0, TO_END),
        (0, 0, 10, TO_END + 4 * 4_000 * 10),
        (1_000_000, 100, 10, TO_END + 2_000_000 + 4 * 10_000 * 10),
    ],
)
def test_the_reserve_grows_with_what_an_end_writes(
    journal: int, answers: int, under_way: int, expected: int
) -> None:
    """The journal twice, and four mean answers for each call under way."""
    assert reserve(journal=journal, answers=answers, under_way=under_way) == expected


def test_a_disk_with_room_is_not_too_little(tmp_path: Path) -> None:
    """And where nothing is known of it, the run begins too."""
    assert too_little(tmp_path) is None
    assert free(tmp_path / "nowhere") is None


def test_the_spare_file_takes_room_until_it_is_given_up(tmp_path: Path) -> None:
    """Its blocks are allocated: a file of holes would free nothing."""
    spare = Spare(tmp_path)
    spare.keep()
    assert (tmp_path / "spare").stat().st_blocks * 512 >= SPARE
    assert spare.give_up()
    assert spare.given_up.is_set()
    assert not spare.give_up()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_takes_the_record_once_there_is_room(tmp_path: Path) -> None:
    """A write that is refused for want of room is tried once more when some was made; then it is final."""

    async def main(disk: Path) -> int:
        spare = disk / "filler"
        spare.write_bytes(bytes(8_192))
        frees = [True, False]

        def make_room() -> bool:
            spare.unlink(missing_ok=True)
            return frees.pop(0)

        journal = Journal(disk, 1, HandClock(), make_room=make_room)
        with pytest.raises(StorageError, match="the disk is full"):  # noqa: PT012 - as many as fit
            for written in range(10_000):
                journal.append(sent(written))
        assert not frees
        with pytest.raises(StorageError):
            journal.append(sent(written))
        journal.close()
        reader = JournalReader(journal.path)
        assert [record for record, _line in reader.records()] == [sent(n) for n in range(written)]
        assert reader.damage == []
        return journal.path.stat().st_size

    try:
        with small_disk(tmp_path / "disk", "64k") as disk:
            assert anyio.run(main, disk) > 56_000  # what the other file had taken, too
    except subprocess.CalledProcessError:
        pytest.skip("nothing can be mounted")
