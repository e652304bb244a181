"""The lease on a run in object storage."""

from __future__ import annotations

import pytest
from obstore.store import MemoryStore

from batchrun.errors import LeaseLostError, RunLockedError
from batchrun.remote.lease import HeldLease, Lease, take_lease
from batchrun.remote.manifest import Manifest, read_manifest, write_manifest
from batchrun.storage import Address, ConflictError, Store


class World:
    """A store, and time that passes when somebody waits for it: then `alive` holders renew."""

    def __init__(self) -> None:
        self.store = Store(Address("s3", "bucket", "run"), MemoryStore())
        self.now = 0.0
        self.alive: list[HeldLease] = []
        self.said: list[str] = []

    def sleep(self, seconds: float) -> None:
        before = self.now // 10
        self.now += seconds
        if self.now // 10 > before:
            for holding in self.alive:
                holding.renew({"rows": self.now})

    def take(self, holder: str) -> HeldLease:
        return take_lease(
            self.store,
            holder,
            say=self.said.append,
            lost_with=lambda lease: {"told": dict(lease.told)},
            clock=lambda: self.now,
            sleep=self.sleep,
        )


def test_the_first_one_takes_it_at_once() -> None:
    """Nobody is waited for where nobody was."""
    world = World()
    holding = world.take("a")
    assert (holding.lease.epoch, [*holding.lease.owed], world.now) == (1, [], 0)


def test_a_released_lease_is_taken_at_once() -> None:
    """And the epoch grows, whoever takes it."""
    world = World()
    holding = world.take("a")
    holding.release()
    holding = world.take("b")
    assert (holding.lease.epoch, world.now, [*holding.lease.owed]) == (2, 0, [])


def test_the_holder_of_a_killed_submit_takes_it_back_at_once() -> None:
    """The file lock of its local copy says that no other process is alive."""
    world = World()
    world.take("a")
    holding = world.take("a")
    assert (holding.lease.epoch, world.now, [*holding.lease.owed]) == (2, 0, []), "nothing is lost with it"


def test_a_holder_that_is_alive_keeps_it() -> None:
    """Whoever comes is told who it is, within a beat."""
    world = World()
    holding = world.take("a")
    world.alive.append(holding)
    with pytest.raises(RunLockedError, match=r"another submit is running on s3://bucket/run on .* \(process"):
        world.take("b")
    assert world.now <= 11
    holding.renew({})


def test_a_silent_holder_loses_it_after_its_time() -> None:
    """Not a second before, and what it said last is known."""
    world = World()
    holding = world.take("a")
    holding.renew({"rows": 7})
    taken = world.take("b")
    assert taken.lease.epoch == 2
    assert 30 <= world.now <= 32
    assert [*taken.lease.owed] == [{"told": {"rows": 7}}]
    assert "has been silent" in world.said[0]
    with pytest.raises(LeaseLostError, match="was taken over by a submit on"):
        holding.renew({})


def test_of_two_that_wait_one_takes_it() -> None:
    """The write is conditional: the other sees that it came too late."""
    world = World()
    world.take("a")
    taken: list[HeldLease] = []

    def sleep(seconds: float) -> None:
        world.sleep(seconds)
        if world.now >= 29.5 and not taken:  # while the first waits for its last second
            found = world.store.read_version("lease.json")
            assert found is not None
            other = Lease("c", 2, 0, "elsewhere", 1, 30, 0.0)
            taken.append(
                HeldLease(world.store, other, world.store.replace("lease.json", other.document(), found[1]))
            )

    with pytest.raises(RunLockedError, match="on elsewhere"):
        take_lease(world.store, "b", say=world.said.append, clock=lambda: world.now, sleep=sleep)
    taken[0].renew({})


def test_a_lease_that_cannot_be_read_is_waited_for_and_taken() -> None:
    """Something wrote over it: that says nothing of who holds the run."""
    world = World()
    world.store.write("lease.json", b"no lease")
    holding = world.take("b")
    assert world.now >= 30
    holding.renew({})


def test_a_renewal_whose_answer_never_came_was_no_takeover() -> None:
    """It was done, and only this holder does not know: the next one goes on from it."""
    world = World()
    holding = world.take("a")
    found = world.store.read_version("lease.json")
    assert found is not None
    HeldLease(world.store, holding.lease, found[1]).renew({"rows": 1})
    holding.renew({"rows": 2})
    holding.release()
    assert [*world.take("b").lease.owed] == []


def test_what_was_lost_is_handed_on_until_the_books_have_it() -> None:
    """Through holders that release the lease, are killed at once, or are lost too."""
    world = World()
    world.take("a").renew({"rows": 7})
    world.take("b").release(owed := [{"told": {"rows": 7}}])
    assert [*world.take("c").lease.owed] == owed
    last = world.take("d")
    assert [*last.lease.owed] == [*owed, {"told": {}}]
    last.renew({}, last.lease.owed)
    last.renew({})
    assert [*world.take("d").lease.owed] == []


def test_a_manifest_is_replaced_only_by_who_replaced_it_last() -> None:
    """A submit that has lost its lease without knowing publishes nothing."""
    store = World().store
    first = write_manifest(store, Manifest(1, "job"), None)
    write_manifest(store, Manifest(2, "job"), first)
    with pytest.raises(ConflictError):
        write_manifest(store, Manifest(1, "job", state="0001-000001"), first)
    with pytest.raises(ConflictError):
        write_manifest(store, Manifest(1, "job", state="0001-000001"), None)
    found = read_manifest(store)
    assert found is not None
    assert found[0].epoch == 2
