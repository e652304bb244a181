"""Kills and bad networks at the moments that matter, between one write and the next."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from batchrun.errors import ObjectStorageError, RunFolderError, StorageError
from batchrun.remote import held as held_module
from batchrun.remote import reading
from batchrun.remote.copies import LocalCopy
from batchrun.remote.fetching import fetch
from batchrun.remote.held import Held, held
from batchrun.remote.lease import LeaseLostError, read_lease
from batchrun.remote.manifest import KEY, Entry, Manifest, read_manifest, write_manifest
from batchrun.remote.shipping import Shipper
from batchrun.remote.work import account_for_loss
from batchrun.run_folder.log import open_log
from batchrun.run_folder.spend import read_dropped
from batchrun.storage import Address, Patience, Store, open_store
from tests.remote.runs import wait_for
from tests.remote.server import Between, Fault

BRIEF = Patience(retries=0, total=1.0, request=5.0)


class KilledError(BaseException):
    """As far as what stays behind goes, a kill."""


def copy_of(bucket: Address, folder: Path) -> LocalCopy:
    """A machine's copy of a run."""
    place = bucket.below("runs/job")
    return LocalCopy(place, folder / "job-0/job")


@contextmanager
def at_work(copy: LocalCopy, said: list[str] | None = None) -> Iterator[Held]:
    """Its run, taken as a submit does."""
    with held(copy, "job", (said if said is not None else []).append, ttl=3.0) as taken:
        copy.run.claim("job")
        yield taken


def append(copy: LocalCopy, line: str) -> None:
    """What a journal grows by."""
    with (copy.run.checkpoint / "journal-000001.log").open("a") as file:
        file.write(f"{line}\n")


def journal(copy: LocalCopy) -> list[str]:
    """Its lines."""
    return (copy.run.checkpoint / "journal-000001.log").read_text().split()


def killed_after_upload(copy: LocalCopy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submit that is killed when its second state is in the bucket, and before it can note that."""
    with suppress(KilledError), at_work(copy) as taken, monkeypatch.context() as patch:
        append(copy, "first")
        taken.ship()
        append(copy, "second")
        patch.setattr(Shipper, "ship", _killed_when_done(Shipper.ship))
        taken.ship()


def _killed_when_done(act: Callable[..., bool]) -> Callable[..., bool]:
    def done(*given: Any, **named: Any) -> bool:
        act(*given, **named)
        raise KilledError

    return done


def test_a_kill_between_an_upload_and_its_note_loses_nothing(
    tmp_path: Path, bucket: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest state is this copy's own: what came since is not taken for another machine's leavings."""
    copy = copy_of(bucket, tmp_path)
    killed_after_upload(copy, monkeypatch)
    append(copy, "third")
    said: list[str] = []
    with at_work(copy, said) as taken:
        assert journal(copy) == ["first", "second", "third"]
        taken.ship()
    assert not said
    elsewhere = copy_of(bucket, tmp_path / "b")
    with at_work(elsewhere):
        assert journal(elsewhere) == ["first", "second", "third"]


def newest(copy: LocalCopy) -> Manifest:
    """The newest state of a run."""
    found = read_manifest(open_store(copy.place))
    assert found is not None
    return found[0]


@pytest.mark.parametrize("key", [KEY, "lease.json"])
def test_a_write_whose_answer_never_came_is_no_takeover(
    tmp_path: Path, bucket: Address, faulty: Between, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """It was done, then the storage was away for longer than it is asked again: the submit goes on."""
    monkeypatch.setattr(held_module, "STEADY", BRIEF)
    monkeypatch.setattr(held_module, "HASTY", BRIEF)
    copy = copy_of(bucket, tmp_path)
    with at_work(copy) as taken:
        append(copy, "first")
        taken.ship()
        before = faulty.faults
        faulty.fault = _done_then_away(key)
        append(copy, "second")
        with suppress(ObjectStorageError):
            taken.ship()
        wait_for(lambda: faulty.faults > before + 1)
        faulty.fault = lambda _method, _path: None
        end = time.time()
        wait_for(lambda: taken.lost is not None or _beat(copy) > end)
        taken.ship()
        assert taken.lost is None
    assert newest(copy).files["checkpoint/journal-000001.log"].size == len("first\nsecond\n")


def _beat(copy: LocalCopy) -> float:
    """When its lease was renewed last."""
    found = read_lease(open_store(copy.place))
    assert found is not None
    return found[0].at


def _done_then_away(key: str) -> Callable[[str, str], Fault | None]:
    """A fault that lets the next write of an object through, not its answer, and no request after it."""
    done: list[str] = []

    def fault(method: str, path: str) -> Fault | None:
        if done:
            return "away"
        if method == "PUT" and path.endswith(key):
            done.append(path)
            return "lost"
        return None

    return fault


def test_no_object_is_written_over_where_the_lease_was_removed(tmp_path: Path, bucket: Address) -> None:
    """By hand, as to end the wait for a submit that was killed: the epoch goes on from the manifest's."""
    first, second = (copy_of(bucket, tmp_path / name) for name in "ab")
    with at_work(first) as taken:
        append(first, "first")
        taken.ship()
    store, before = open_store(first.place), newest(first)
    objects = {key: store.read(key) for key in [*before.keys()]}
    store.remove(["lease.json"])
    with at_work(second) as taken:
        append(second, "second")
        taken.ship()
    assert newest(second).epoch == before.epoch + 1
    assert {key: store.read(key) for key in objects} == objects


def test_a_run_that_began_anew_is_not_taken_for_the_one_before(tmp_path: Path, bucket: Address) -> None:
    """Its objects were removed, and another machine uploaded as often: no two states have one name."""
    first, second = (copy_of(bucket, tmp_path / name) for name in "ab")
    for copy, line in ((first, "old"), (second, "new")):
        store = open_store(copy.place)
        store.remove([item.key for item in store.listing()])
        with at_work(copy) as taken:
            append(copy, line)
            taken.ship()
    with at_work(first):
        assert journal(first) == ["new"]


def test_a_submit_that_has_lost_its_lease_removes_nothing_of_its_successor(
    tmp_path: Path, bucket: Address
) -> None:
    """It may have slept between its last upload and the removal of what nothing needs any more."""
    first, second = (copy_of(bucket, tmp_path / name) for name in "ab")
    with suppress(LeaseLostError), at_work(first) as slow:
        append(first, "first")
        slow.ship()
        slow.stop(release=True)
        with at_work(second) as taken:
            append(second, "second")
            taken.ship()
            slow._shipper.sweep()
        slow.ship()
    store = open_store(second.place)
    assert [key for key in [*newest(second).keys()] if store.read(key) is None] == []


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
        (copy.run.checkpoint / "job.json").write_text("{}")
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


def test_a_machine_that_slept_is_unsure_of_its_lease(
    tmp_path: Path, bucket: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its monotonic clock stood still meanwhile: another machine may be asking by now."""
    with at_work(copy_of(bucket, tmp_path)) as taken:
        assert not taken.is_unsure
        clock = time.clock_gettime
        slept = {getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC): 60.0}
        monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + slept.get(which, 0.0))
        assert taken.is_unsure


def test_a_lease_is_renewed_after_an_error_of_this_machine(tmp_path: Path, bucket: Address) -> None:
    """As where no file could be opened for an instant: else it would run out beside a submit that lives."""
    copy = copy_of(bucket, tmp_path)
    with at_work(copy) as taken:
        failed = threading.Event()

        def tell() -> dict[str, Any]:
            if not failed.is_set():
                failed.set()
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return {"rows": 7}

        taken.tell = tell
        assert failed.wait(10)
        wait_for(lambda: b'"rows":7' in (open_store(copy.place).read("lease.json") or b""), 5)


def test_what_a_lost_machine_paid_is_counted_though_the_next_is_lost_too(
    tmp_path: Path, bucket: Address
) -> None:
    """Before anything is asked, the budget's books are where the run is."""
    done = {"rows": 5, "calls": 6, "tokens": 70, "cost_usd": 0.5}
    copies = [copy_of(bucket, tmp_path / name) for name in "abc"]
    with suppress(KilledError), at_work(copies[0]) as taken:
        append(copies[0], "first")
        taken.ship()
        taken.tell = lambda: done
        wait_for(lambda: b'"calls":6' in (open_store(copies[0].place).read("lease.json") or b""))
        raise KilledError
    with suppress(KilledError), at_work(copies[1]) as taken, open_log(copies[1].run.log) as log:
        assert taken.loss is not None
        account_for_loss(taken, copies[1].run, print, log)
        raise KilledError
    with at_work(copies[2]):
        counted = read_dropped(copies[2].run.checkpoint)
    assert counted["lost with lease 1"].total().cost_usd == 0.5
