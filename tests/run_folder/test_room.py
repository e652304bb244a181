"""Room on the disk: what a run wants to see free, and the spare file."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import pytest

from batchrun.answer.in_flight import InFlightCall, InFlightCalls
from batchrun.engines.storage_watch import watch_storage
from batchrun.errors import StorageError
from batchrun.run_folder.journal.journal import Journal
from batchrun.run_folder.journal.reading import JournalReader
from batchrun.run_folder.room import SPARE, TO_END, TO_START, Spare, free, megabytes, reserve, too_little
from batchrun.summary import Stop
from tests.reliability.storage import small_disk
from tests.run_folder.recorded import sent
from tests.run_folder.test_journal import HandClock
from tests.runs import simulated


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


@pytest.mark.parametrize(
    ("room", "goes"), [(0, False), (TO_START - 1, False), (TO_START, True), (None, True)]
)
def test_a_run_begins_with_so_much_room(tmp_path: Path, room: int | None, goes: bool) -> None:
    """64 MB; where nothing is known of it, the run begins too."""
    reason = too_little(tmp_path, free=lambda _folder: room)
    assert (reason is None) is goes
    if reason is not None:
        assert f"only {megabytes(room or 0)} are free where {tmp_path} lies" in reason
        assert "Nothing was sent. Free some space" in reason
    assert TO_START == 64_000_000


def test_nothing_is_sent_from_a_disk_that_is_nearly_full(tmp_path: Path) -> None:
    """40 MB would take this run; the next submit, with more, sends every row."""
    with simulated(tmp_path, rows=3) as job, mounted(tmp_path / "runs", "40m") as disk:
        refused = job.submit_here()
        assert (refused.exit_code, refused.pending, len(job.calls())) == (3, 3, 0)
        assert refused.stopped_by is not None
        assert "a run needs 64.0 MB to begin" in refused.stopped_by.message
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        assert (job.submit_here().exit_code, len(job.calls())) == (0, 3)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A disk of that size; the test is skipped where none can be mounted."""
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(folder, size))
        except (subprocess.CalledProcessError, FileNotFoundError):
            pytest.skip("nothing can be mounted")
        yield disk


def watched(folder: Path, room: int | None, *, under_way: int) -> list[Stop]:
    """What stops a run that sees so much room, with so many calls under way, at the first look."""
    stops: list[Stop] = []

    async def main() -> None:
        in_flight_calls, journal = InFlightCalls(), Journal(folder, 1, HandClock())
        with ExitStack() as stack:
            stack.callback(journal.close)
            for _ in range(under_way):
                stack.enter_context(in_flight_calls.under_way(InFlightCall(0, 0.0)))
            async with anyio.create_task_group() as group:

                def look(_folder: Path) -> int | None:
                    group.cancel_scope.cancel()
                    return room

                await watch_storage(journal, Spare(folder), in_flight_calls, stops.append, free=look)

    anyio.run(main)
    return stops


@pytest.mark.parametrize(
    ("room", "under_way", "stops"),
    [
        (None, 0, False),
        (TO_END, 0, True),
        (TO_END + 1_000_000, 0, False),
        (TO_END + 1_000_000, 100, True),
    ],
)
def test_a_run_stops_while_its_end_still_fits(
    tmp_path: Path, room: int | None, under_way: int, stops: bool
) -> None:
    """More calls under way need more; where nothing is known of the room, the run goes on."""
    seen = watched(tmp_path, room, under_way=under_way)
    assert [stop.kind for stop in seen] == (["storage"] if stops else [])
    if stops:
        assert f"nearly full: {megabytes(room or 0)} are free where {tmp_path} lies" in seen[0].message
        assert "Free some space" in seen[0].message


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
