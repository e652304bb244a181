"""Kills and bad networks at the moments that matter, between one write and the next."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from batchrun import codec
from batchrun.errors import LeaseLostError, ObjectStorageError
from batchrun.remote import leased_run as held_module
from batchrun.remote.copies import LocalCopy
from batchrun.remote.lease import read_lease
from batchrun.remote.manifest import KEY
from batchrun.remote.shipping import Shipper
from batchrun.remote.work import account_for_loss
from batchrun.run_folder.checkpoint.spend import read_dropped
from batchrun.run_folder.log import open_log
from batchrun.storage import Address, Patience, open_store
from tests.remote.copies import KilledError, append, at_work, copy_of, journal, newest
from tests.remote.runs import wait_for
from tests.remote.server import Between, Fault

BRIEF = Patience(retries=0, total=1.0, request=5.0)


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


def _answers_lost(fates: list[Fault]) -> Callable[[str, str], Fault | None]:
    """A fault that lets writes of the manifest meet these fates in turn; none of them can be looked at."""

    def fault(method: str, path: str) -> Fault | None:
        if not path.endswith(KEY):
            return None
        return fates.pop(0) if method == "PUT" and fates else "away"

    return fault


def ship_unanswered(copy: LocalCopy, faulty: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submit that is killed after two uploads without an answer: the first was done, the second was not."""
    monkeypatch.setattr(held_module, "STEADY", BRIEF)
    with suppress(KilledError), at_work(copy) as taken:
        append(copy, "first")
        taken.ship()
        faulty.fault = _answers_lost(["lost", "away"])
        for line in ("second", "third"):
            append(copy, line)
            with suppress(ObjectStorageError):
                taken.ship()
        faulty.fault = lambda _method, _path: None
        raise KilledError


def test_a_kill_after_uploads_whose_answers_never_came_loses_nothing(
    tmp_path: Path, bucket: Address, faulty: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state in the bucket is any of those that were announced since an upload was known to be done."""
    copy, said = copy_of(bucket, tmp_path), list[str]()
    ship_unanswered(copy, faulty, monkeypatch)
    assert newest(copy).files["checkpoint/journal-000001.log"].size == len("first\nsecond\n")
    with at_work(copy, said) as taken:
        assert journal(copy) == ["first", "second", "third"]
        taken.ship()
    assert not said
    assert len(codec.loads((copy.path.parent / "remote.json").read_bytes())["coming"]) == 0


def test_a_note_of_one_announced_state_is_read(
    tmp_path: Path, bucket: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As local copies have it that were last worked on before several were noted."""
    copy, said = copy_of(bucket, tmp_path), list[str]()
    killed_after_upload(copy, monkeypatch)
    about = copy.path.parent / "remote.json"
    known = codec.loads(about.read_bytes())
    about.write_bytes(codec.dumps({**known, "coming": known["coming"][0]}))
    append(copy, "third")
    with at_work(copy, said):
        assert journal(copy) == ["first", "second", "third"]
    assert not said


def test_what_may_have_been_uploaded_is_replaced_though_nothing_is_new_since(
    tmp_path: Path, bucket: Address, faulty: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that came with an upload without an answer is gone again: the bucket must name none of its
    objects when they are removed."""
    monkeypatch.setattr(held_module, "STEADY", BRIEF)
    copy = copy_of(bucket, tmp_path)
    passing = copy.run.checkpoint_path / "passing.json"
    with at_work(copy) as taken:
        append(copy, "first")
        taken.finish()
        faulty.fault = _answers_lost(["lost"])
        passing.write_text("{}")
        with suppress(ObjectStorageError):
            taken.ship()
        faulty.fault = lambda _method, _path: None
        passing.unlink()
        taken.finish()
    store = open_store(copy.place)
    assert [key for key in [*newest(copy).keys()] if store.read(key) is None] == []


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


@pytest.mark.long
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
    with at_work(copies[1]) as taken:  # a `gc`, which has no books to keep
        append(copies[1], "second")
        taken.ship()
    with suppress(KilledError), at_work(copies[1]) as taken:  # a submit that is killed before it has begun
        raise KilledError
    with suppress(KilledError), at_work(copies[1]) as taken, open_log(copies[1].run.log) as log:
        assert [loss.calls for loss in taken.losses] == [6]
        account_for_loss(taken, copies[1].run, print, log)
        assert taken.losses == []
        raise KilledError
    with at_work(copies[2]):
        counted = read_dropped(copies[2].run.checkpoint_path)
    assert counted["lost with lease 1"].total().cost_usd == 0.5


@pytest.mark.long
def test_what_only_the_killed_machine_has_is_uploaded_before_anything_is_asked(
    tmp_path: Path, bucket: Address
) -> None:
    """Else it would be lost uncounted with a machine that goes on from a kill, and dies before an upload."""
    first, second = (copy_of(bucket, tmp_path / name) for name in "ab")
    with suppress(KilledError), at_work(first) as taken:
        append(first, "first")
        raise KilledError
    with suppress(KilledError), at_work(first) as taken, open_log(first.run.log) as log:
        account_for_loss(taken, first.run, print, log)
        append(first, "second")
        raise KilledError
    with at_work(second):
        assert journal(second) == ["first"]
