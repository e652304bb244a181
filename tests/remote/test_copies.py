"""Local copies of runs: fetched whole, and beside those who read and write them on one machine."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from batchrun.errors import RunFolderError, StorageError
from batchrun.remote import reading
from batchrun.remote.copies import LocalCopy
from batchrun.remote.fetching import fetch
from batchrun.remote.manifest import Entry, Manifest, write_manifest
from batchrun.storage import Address, Store, open_store
from tests.remote.copies import append, at_work, copy_of, journal, newest


def test_a_reader_fetches_the_state_that_took_the_place_of_the_one_it_saw(
    tmp_path: Path, bucket: Address
) -> None:
    """Its objects were removed by the submit that has ended meanwhile."""
    copy, reader = (copy_of(bucket, tmp_path / name) for name in "ab")
    with at_work(copy) as taken:
        append(copy, "first")
        taken.ship()
        seen = newest(copy)
        append(copy, "second")
        (copy.run.checkpoint_path / "job.json").write_text("{}")
        taken.finish()
        gone = set(seen.keys()) - set(newest(copy).keys())
        assert gone
    states = iter([seen])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "read_manifest", lambda store: (next(states, newest(copy)), {}))
        run = reading.open_copy(reader.place, reader.path, say=lambda _text: None)
    assert journal(LocalCopy(reader.place, run.path)) == ["first", "second"]


def test_a_submit_waits_for_a_reader_of_its_machine(
    tmp_path: Path, bucket: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is fetching is no other submit; and who reads beside a submit reads what that has."""
    copy, other = (copy_of(bucket, tmp_path / name) for name in "ab")
    with at_work(other) as taken:
        append(other, "first")
        taken.ship()
    going = threading.Event()

    def slowly(*given: Any) -> None:
        going.set()
        time.sleep(0.7)
        fetch(*given)

    monkeypatch.setattr("batchrun.remote.copies.fetch", slowly)
    reader = threading.Thread(target=lambda: reading.open_copy(copy.place, copy.path, say=print))
    reader.start()
    going.wait(10)
    with at_work(copy) as taken:
        append(copy, "second")
        reading.open_copy(copy.place, copy.path, say=print)
        assert journal(copy) == ["first", "second"]
    reader.join()


def _publish(copy: LocalCopy, generation: str) -> Path:
    """Results of one part, as a submit publishes them; the part, by its own name."""
    part = copy.run.generations / generation / "part-00000.parquet"
    part.parent.mkdir()
    part.write_bytes(generation.encode())
    copy.run.results.unlink(missing_ok=True)
    copy.run.results.symlink_to(f"generations/{generation}")
    return part


def test_results_stay_for_who_reads_them_while_newer_ones_are_fetched(
    tmp_path: Path, bucket: Address
) -> None:
    """As in a run folder of this machine: another job may go on from them for hours (`input.run`)."""
    copy, reader = (copy_of(bucket, tmp_path / name) for name in "ab")
    for generation in ("000001", "000002"):
        with at_work(copy) as taken:
            _publish(copy, generation)
            taken.ship(is_published=True)
        run = reading.open_copy(reader.place, reader.path, say=print)
        assert (run.results / "part-00000.parquet").read_text() == generation
    assert (run.generations / "000001/part-00000.parquet").read_text() == "000001"
    assert sorted(path.name for path in reader.path.parent.iterdir()) == ["job", "remote.json", "turn"]


@pytest.mark.parametrize("name", ["checkpoint/../../x", "ABSOLUTE", "..", "checkpoint/a/b"])
@pytest.mark.parametrize("part", ["files", "results", "generation"])
def test_a_manifest_cannot_write_outside_of_the_copy(
    tmp_path: Path, bucket: Address, part: str, name: str
) -> None:
    """Whoever may write to the bucket is not to write anywhere on the machines that read it."""
    copy = copy_of(bucket, tmp_path)
    name = name.replace("ABSOLUTE", str(tmp_path / "x"))
    entries: dict[str, Any] = {"files": {"job.yaml": Entry(0, "", ())}}
    entries[part] = name if part == "generation" else {name: Entry(0, "", ())}
    write_manifest(open_store(copy.place), Manifest(1, "job", **entries), None)
    with pytest.raises(RunFolderError, match="is no name of a file"):
        reading.open_copy(copy.place, copy.path, say=print)


def test_what_is_fetched_is_on_disk_before_it_is_noted(
    tmp_path: Path, bucket: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut the copy is taken for what its note says."""
    copy, reader = (copy_of(bucket, tmp_path / name) for name in "ab")
    with at_work(copy) as taken:
        append(copy, "first")
        taken.ship()
    synced: list[str] = []
    fsync = os.fsync

    def noting(fd: int) -> None:
        synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noting)
    reading.open_copy(reader.place, reader.path, say=print)
    noted = next(at for at, name in enumerate(synced) if name.startswith("remote.json") and at > 1)
    assert {"journal-000001.log", "job.json", "checkpoint"} <= set(synced[:noted])


def test_a_disk_that_is_full_while_a_run_is_fetched_is_told(
    tmp_path: Path, bucket: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a reader and to a submit, as anywhere else: resumable, no bug of ours."""
    copy, other = (copy_of(bucket, tmp_path / name) for name in "ab")
    with at_work(copy) as taken:
        append(copy, "first")
        taken.ship()

    def full(*_given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Store, "fetch", full)
    with pytest.raises(StorageError, match="the disk is full"):
        reading.open_copy(other.place, other.path, say=print)
    with pytest.raises(StorageError, match="the disk is full"), at_work(other):
        pass
