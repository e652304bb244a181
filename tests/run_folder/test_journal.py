"""The journal: what was appended is read again, damage costs one record, a full disk ends the run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from batchrun.errors import RunFolderError, RunFolderLostError, StorageError
from batchrun.run_folder.checkpoint.sealed import JournalContents
from batchrun.run_folder.journal.format_version import FORMAT_VERSION
from batchrun.run_folder.journal.journal import COMMIT_INTERVAL, MAX_UNSYNCED, Journal
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.reading import Damage, JournalReader, journal_files
from batchrun.run_folder.journal.records import Admitted, Header, Record, Sent
from tests.run_folder.recorded import answered, asked, done, reply, sent, write_journal
from tests.small_files import files_of_at_most


class HandClock:
    """A clock that moves when it is told to sleep."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await anyio.lowlevel.checkpoint()


def read(path: Path) -> tuple[list[Record], list[Damage]]:
    reader = JournalReader(path)
    records = [record for record, _line in reader.records()]
    return records, reader.damage


def test_what_is_appended_can_be_read_at_once(tmp_path: Path) -> None:
    """Before any fsync: the page cache survives the death of the process."""

    async def main() -> None:
        journal = Journal(tmp_path, 1, HandClock())
        for record in asked(1):
            journal.append(record)
            assert read(journal.path)[0][-1] == record
        assert read(journal.path) == (asked(1), [])
        assert journal.finished == 1
        assert journal.size == journal.path.stat().st_size
        assert journal.path.stat().st_mode & 0o777 == 0o600
        journal.close()

    anyio.run(main)


def test_files_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """And nothing else is taken for one."""
    for name in (
        "journal-000010.log",
        "journal-000002.log",
        "journal-1.log",
        "journal-000003.log.tmp",
        "lock",
    ):
        (tmp_path / name).touch()
    assert list(journal_files(tmp_path)) == [2, 10]


def test_a_torn_tail_is_passed_over_and_reported(tmp_path: Path) -> None:
    """Wherever the cut is: the records before it are whole."""
    path = write_journal(tmp_path, 1, asked(1))
    whole = path.read_bytes()
    last = len(encode(asked(1)[-1]))
    for cut in range(2, last):
        path.write_bytes(whole[:-cut])
        assert read(path) == (asked(1)[:2], [Damage(path, 4, last - cut, True)])


def test_a_record_that_lost_its_newline_alone_is_whole(tmp_path: Path) -> None:
    """What is written after it, in the file that carries it on, does not join its line."""
    path = write_journal(tmp_path, 1, [sent(1), answered(1)])
    path.write_bytes(path.read_bytes()[:-1])
    contents = JournalContents(path)

    async def main() -> None:
        journal = Journal(tmp_path, 2, HandClock())
        journal.carry(1, contents.unfinished[1].lines)
        journal.append(done(1))
        journal.close()

    anyio.run(main)
    assert read(tmp_path / "journal-000002.log") == (asked(1), [])


@pytest.mark.parametrize("noise", [b"x", b"\n", b"\0" * 8])
def test_damage_in_the_middle_costs_only_its_record(tmp_path: Path, noise: bytes) -> None:
    """A damaged block of the disk: the lines around it prove themselves."""
    records = [*asked(1), *asked(2)]
    path = write_journal(tmp_path, 1, records)
    lines = path.read_bytes().splitlines(keepends=True)
    for number in range(1, 7):
        damaged = bytearray(lines[number])
        damaged[20 : 20 + len(noise)] = noise
        path.write_bytes(b"".join([*lines[:number], bytes(damaged), *lines[number + 1 :]]))
        found, damage = read(path)
        assert found == [record for at, record in enumerate(records, start=1) if at != number]
        assert damage[0].line == number + 1
        assert not any(item.is_tail for item in damage)


def test_a_damaged_header_costs_no_record(tmp_path: Path) -> None:
    """And an empty file, as a power cut right after its creation leaves it, is no error."""
    path = write_journal(tmp_path, 1, asked(1))
    path.write_bytes(b"x" + path.read_bytes())
    assert read(path)[0] == asked(1)
    path.write_bytes(b"")
    assert read(path) == ([], [])


def test_a_journal_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    """Rather than misread."""
    path = tmp_path / "journal-000001.log"
    path.write_bytes(encode(Header(FORMAT_VERSION + 1)))
    with pytest.raises(RunFolderError, match="written by a newer batchrun") as caught:
        read(path)
    assert "Update batchrun" in str(caught.value)


def test_a_new_file_carries_what_is_unfinished(tmp_path: Path) -> None:
    """So that the newest file alone is enough, and what is finished is left behind."""

    async def main() -> None:
        journal = Journal(tmp_path, 1, HandClock())
        for record in [*asked(1), sent(2), answered(2, exchange=reply(status=429)), sent(3)]:
            journal.append(record)
        closed = await journal.rotate(lambda: Admitted({"windows": [1.5]}))
        assert closed == tmp_path / "journal-000001.log"
        assert journal.path == tmp_path / "journal-000002.log"
        assert journal.finished == 0
        journal.append(answered(3))
        journal.append(done(3))
        await journal.rotate(lambda: Admitted({}))
        journal.close()

    anyio.run(main)
    unfinished = [sent(2), answered(2, exchange=reply(status=429))]
    assert read(tmp_path / "journal-000002.log")[0] == [
        *unfinished,
        sent(3),
        Admitted({"windows": [1.5]}),
        answered(3),
        done(3),
    ]
    assert read(tmp_path / "journal-000003.log")[0] == [*unfinished, Admitted({})]


def test_a_number_is_never_used_twice(tmp_path: Path) -> None:
    """An existing file is another submit's: it is not appended to."""
    write_journal(tmp_path, 1, asked(1))
    with pytest.raises(StorageError, match=r"journal-000001.log: File exists"):
        anyio.run(open_journal, tmp_path)


async def open_journal(folder: Path) -> Journal:
    return Journal(folder, 1, HandClock())


def test_sending_pauses_while_a_record_is_unsynced_for_a_second(tmp_path: Path) -> None:
    """A power cut loses at most that much."""

    async def main() -> None:
        clock = HandClock()
        journal = Journal(tmp_path, 1, clock)
        journal.append(sent(1))
        await clock.sleep(0.9)
        await journal.ready()  # at once
        await clock.sleep(0.2)
        with anyio.move_on_after(0.05) as waited:
            await journal.ready()
        assert waited.cancelled_caught
        async with anyio.create_task_group() as group:
            group.start_soon(journal.sync)
            await journal.ready()
        journal.append(sent(2))
        await clock.sleep(0.9)
        await journal.ready()
        journal.close()

    anyio.run(main)


def test_nothing_appended_needs_no_sync(tmp_path: Path) -> None:
    """A quiet journal is ready for ever."""

    async def main() -> None:
        clock = HandClock()
        journal = Journal(tmp_path, 1, clock)
        await journal.sync()
        await clock.sleep(3600)
        await journal.ready()
        journal.close()

    anyio.run(main)


GROUP_COMMIT = """
    import sys
    from pathlib import Path
    import anyio
    from batchrun.clock import SystemClock
    from batchrun.run_folder.journal.journal import Journal
    from tests.run_folder.recorded import sent

    async def main():
        journal = Journal(Path(sys.argv[1]), 1, SystemClock())
        async with anyio.create_task_group() as group:
            group.start_soon(journal.commit_forever)
            for task in range(2000):
                journal.append(sent(task))
                await anyio.sleep(0)
            await anyio.sleep(0.45)
            group.cancel_scope.cancel()
        journal.close()

    anyio.run(main)
"""


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, to count the fsyncs the kernel sees")
def test_many_appends_share_an_fsync(tmp_path: Path) -> None:
    """2,000 records within half a second take as many fsyncs as there are commit intervals in it."""
    trace = tmp_path / "trace"
    (tmp_path / "checkpoint").mkdir()
    strace = ["strace", "-f", "-e", "trace=fsync,fdatasync,openat", "-o", str(trace)]
    program = [sys.executable, "-c", textwrap.dedent(GROUP_COMMIT), str(tmp_path / "checkpoint")]
    subprocess.run([*strace, *program], check=True, timeout=30)
    calls = trace.read_text()
    (opened,) = re.findall(r"openat\(.*journal-000001.log.* = (\d+)", calls)
    syncs = len(re.findall(rf"fsync\({opened}\)", calls))
    assert 2 <= syncs <= 12, calls
    assert COMMIT_INTERVAL == 0.2


def _append_many(journal: Journal) -> None:
    for task in range(100):
        journal.append(sent(task))


def test_a_full_disk_ends_the_run_and_leaves_no_part_of_a_record(tmp_path: Path) -> None:
    """What was appended before stays; nothing may be appended after."""

    async def main() -> list[int]:
        journal = Journal(tmp_path, 1, HandClock())
        full = r"cannot write to .*journal-000001.log: (the disk is full|File too large)"
        with files_of_at_most(1000):
            with pytest.raises(StorageError, match=full) as caught:
                _append_many(journal)
            assert caught.value.exit_code == 3
            with pytest.raises(StorageError):
                journal.append(sent(1))
            with pytest.raises(StorageError):
                journal.carry(1, [b"x"])
            with pytest.raises(StorageError):
                await journal.ready()
        journal.close()
        records, damage = read(journal.path)
        assert damage == []
        return [record.task for record in records if isinstance(record, Sent)]

    tasks = anyio.run(main)
    assert 0 < len(tasks) < 100
    assert tasks == list(range(len(tasks)))


def test_a_disk_that_fills_up_at_a_new_file_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file has all that was under way, on disk: nothing syncs it later."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))

    async def main() -> None:
        journal = Journal(tmp_path, 1, HandClock())
        for task in range(3):
            journal.append(sent(task))
        with files_of_at_most(100), pytest.raises(StorageError, match=r"journal-000002\.log"):
            await journal.rotate(lambda: Admitted({"a": "x" * 200}))
        journal.close()

    anyio.run(main)
    old = tmp_path / "journal-000001.log"
    assert read(old)[0] == [sent(task) for task in range(3)]
    assert old.stat().st_ino in synced
    assert read(tmp_path / "journal-000001.log") == ([sent(0), sent(1), sent(2)], [])
    assert read(tmp_path / "journal-000002.log") == ([], [])


def test_a_slow_sync_does_not_stretch_the_commit_interval(tmp_path: Path) -> None:
    """An answer that arrives while a sync is under way waits for the rest of the interval."""
    pauses: list[float] = []

    class SlowDisk(HandClock):
        async def sleep(self, seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                raise TimeoutError
            await anyio.lowlevel.checkpoint()

        def monotonic(self) -> float:
            self.now += 0.03
            return self.now

    async def main() -> None:
        journal = Journal(tmp_path, 1, SlowDisk())
        with pytest.raises(TimeoutError):
            await journal.commit_forever()
        journal.close()

    anyio.run(main)
    assert pauses == pytest.approx([COMMIT_INTERVAL - 0.03] * 3)


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
def test_a_journal_that_is_not_where_it_was_says_so(tmp_path: Path, how: str) -> None:
    """Nothing may be written into a folder that has taken its place."""
    folder = tmp_path / "run" / "checkpoint"
    folder.mkdir(parents=True)

    async def main() -> None:
        journal = Journal(folder, 1, HandClock())
        journal.check_place()
        folder.rename(tmp_path / "elsewhere")
        if how == "removed":
            (tmp_path / "elsewhere" / "journal-000001.log").unlink()
        if how == "replaced":
            folder.mkdir()
            Journal(folder, 1, HandClock()).close()
        assert journal.is_removed() == (how == "removed")
        with pytest.raises(RunFolderLostError, match=r"run folder .*run was removed, moved or replaced"):
            journal.check_place()
        with pytest.raises(RunFolderLostError):
            await journal.rotate(lambda: Admitted({}))
        journal.close()

    anyio.run(main)
    assert not (folder / "journal-000002.log").exists()


def test_the_next_file_is_on_disk_once_the_journal_has_moved_to_it(tmp_path: Path) -> None:
    """The file before it goes: what it carries on must not wait for the next sync."""

    async def main() -> None:
        clock = HandClock()
        journal = Journal(tmp_path, 1, clock)
        journal.append(sent(1))
        await journal.rotate(lambda: Admitted({}))
        clock.now += 2 * MAX_UNSYNCED
        with anyio.fail_after(1):
            await journal.ready()  # waits while anything stands unsynced for long
        journal.close()

    anyio.run(main)
