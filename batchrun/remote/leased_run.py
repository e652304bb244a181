"""A run in object storage for the one who works on it: taken, fetched, uploaded as it grows, given back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

from batchrun.errors import (
    BatchrunError,
    LeaseLostError,
    ObjectStorageError,
    RunFolderError,
    StorageError,
)
from batchrun.remote.copies import LocalCopy
from batchrun.remote.lease import BEAT, TTL, HeldLease, Lease, lost, take_lease
from batchrun.remote.losses import Loss, loss_of
from batchrun.remote.manifest import Manifest, read_manifest, write_manifest
from batchrun.remote.shipping import Shipper
from batchrun.run_folder.lock import locked
from batchrun.run_folder.results.read import see
from batchrun.storage import ConflictError, Patience, Store, Version, open_store

HASTY = Patience(retries=2, total=8.0, request=5.0)
"""For the lease: an answer that comes late is no better than none."""

STEADY = Patience(retries=8, total=120.0, request=120.0)

_FENCES = 5


class LeasedRun:
    """A run that this process holds the lease of."""

    def __init__(self, copy: LocalCopy, store: Store, holding: HeldLease, shipper: Shipper) -> None:
        self.copy = copy
        self.tell: Callable[[], Mapping[str, Any]] = dict
        """What the submit has done so far."""
        self.leaves = False
        """Whether the lease is to run out instead of being released: something was not uploaded."""
        self._store = store
        self._holding = holding
        self._shipper = shipper
        self._owed = holding.lease.owed
        self.is_ahead = holding.goes_on
        """Whether the local copy may have what a submit before, cut off on this machine, did not upload."""
        self._confirmed = _now()
        self._lost: LeaseLostError | None = None
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._shipping = threading.Lock()

    @property
    def losses(self) -> list[Loss]:
        """What submits before had and did not upload, as far as the run's books do not have it."""
        return [Loss.read(document) for document in self._owed]

    def settle_losses(self) -> None:
        """The run's books have them, and are uploaded."""
        self._owed = ()

    @property
    def lost(self) -> LeaseLostError | None:
        """Set once another submit has taken the run."""
        return self._lost

    @property
    def is_unsure(self) -> bool:
        """Whether the lease may run out before it can be renewed: nothing is to be sent meanwhile."""
        return _now() - self._confirmed > self._holding.lease.ttl * 2 / 3

    def start(self) -> None:
        """Renew the lease from now on, in a thread."""
        self._beating.start()

    def ship(self, *, is_published: bool = False) -> bool:
        """Upload what is new; whether there was anything. Raises LeaseLostError, ObjectStorageError."""
        with self._shipping:
            if self._lost:
                raise self._lost
            try:
                done = self._shipper.ship(self._told(), self._announce, is_published=is_published)
            except ConflictError:
                self._lost = lost(self._store)
                raise self._lost from None
            except OSError as error:
                raise StorageError(
                    f"cannot read {error.filename or self.copy.path} to upload it: {error.strerror}",
                    hint="Everything received is kept there. Put that right, then submit again.",
                ) from error
            self.copy.note(self._holding.lease.holder, self._shipper.manifest)
            return done

    def finish(self) -> None:
        """Upload the rest, results included, and remove what nothing refers to any more.

        Raises as `ship`.
        """
        self.ship(is_published=see(self.copy.run).since.is_empty())
        with suppress(ObjectStorageError):  # the next submit does
            self._shipper.sweep()

    def stop(self, *, release: bool) -> None:
        """Renew the lease no more, and leave it to the next one or let it run out."""
        self._over.set()
        if self._beating.is_alive():
            self._beating.join(HASTY.total)
        if release and not self._lost:
            with suppress(ObjectStorageError, LeaseLostError):
                self._holding.release(self._owed)

    def _announce(self, states: Sequence[str]) -> None:
        self.copy.note(self._holding.lease.holder, self._shipper.manifest, coming=states)

    def _told(self) -> dict[str, Any]:
        return {**self.tell(), "epoch": self._holding.lease.epoch, "at": time.time()}

    def _beat(self) -> None:
        pause = min(BEAT, self._holding.lease.ttl / 3)
        while not self._over.wait(pause):
            began = _now()
            try:
                self._holding.renew(self._told(), self._owed)
            except LeaseLostError as error:
                self._lost = error
                return
            except (ObjectStorageError, OSError):  # also one of this machine's, as too many open files
                pause = min(2.0, self._holding.lease.ttl / 15)
            else:
                self._confirmed = began  # as the store may have written it then
                pause = min(BEAT, self._holding.lease.ttl / 3)


def _now() -> float:
    """Seconds, on while the machine sleeps: others do not wait for it to wake up."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@contextmanager
def held(copy: LocalCopy, name: str, say: Callable[[str], None], *, ttl: float = TTL) -> Iterator[LeasedRun]:
    """Hold the run of `copy` for the job `name` in the block, its local copy brought up to date.

    When the block ends by itself, or with an error of ours, what is new has been uploaded and the lease is
    released; else, as after a kill, it runs out. Raises RunLockedError, RunFolderError and
    ObjectStorageError.
    """
    copy.make()
    with ExitStack() as stack:
        with copy.turn():  # readers on this machine are done, and the next ones find it locked
            stack.enter_context(locked(copy.lock, str(copy.place)))
            taken = _take(copy, name, say, ttl)
        release = False
        try:
            yield taken
            release = not taken.leaves
        except LeaseLostError:
            raise
        except BatchrunError:
            release = _saved(taken, say)
            raise
        finally:
            taken.stop(release=release)


def _saved(taken: LeasedRun, say: Callable[[str], None]) -> bool:
    """Upload what a submit left that is about to end with an error; whether that was possible."""
    try:
        taken.ship()
    except (StorageError, LeaseLostError) as error:
        say(f"not uploaded: {error.message}")
        return False
    return True


def _take(copy: LocalCopy, name: str, say: Callable[[str], None], ttl: float) -> LeasedRun:
    store = open_store(copy.place, STEADY)
    hasty = open_store(copy.place, HASTY)
    newest = _check_owner(store, name)
    holder = copy.holder()  # noted before the lease: after a kill it is known as ours
    holding = take_lease(
        hasty, holder, say=say, ttl=ttl, above=newest, lost_with=lambda lease: _loss(store, lease)
    )
    try:
        manifest, version = _fence(store, holding.lease, name)
        shipper = Shipper(copy.run, store, manifest, version)
        taken = LeasedRun(copy, hasty, holding, shipper)
        taken.start()
    except BaseException:
        with suppress(ObjectStorageError, LeaseLostError):
            holding.release(holding.lease.owed)
        raise
    try:
        copy.bring_up(store, manifest, say=say)
        copy.note(holder, manifest)
    except BaseException:
        taken.stop(release=True)
        raise
    return taken


def _loss(store: Store, lease: Lease) -> dict[str, Any]:
    found = read_manifest(store)
    return loss_of(lease, found[0] if found else Manifest(0, "")).document()


def _check_owner(store: Store, name: str) -> int:
    """The epoch of the run as it is. Raises RunFolderError where another job's is kept, or something else."""
    found = read_manifest(store)
    if found is None:
        if next(iter(store.listing()), None) is not None and store.read_version("lease.json") is None:
            raise RunFolderError(
                f"{store.at} is not empty and holds no run of batchrun",
                hint="Give output.path a prefix that is new or empty.",
            )
    elif found[0].name not in ("", name):
        raise RunFolderError(
            f"{store.at} holds the run of another job, {found[0].name!r}",
            hint=f"Give this job ({name!r}) another output.path, or another --name.",
        )
    return found[0].epoch if found else 0


def _fence(store: Store, lease: Lease, name: str) -> tuple[Manifest, Version]:
    """The newest state of the run, written anew under this lease: who held it before can write none."""
    for _ in range(_FENCES):
        found = read_manifest(store)
        if found is None:
            ours = Manifest(lease.epoch, name)
        elif found[0].epoch >= lease.epoch:
            raise lost(store)
        else:
            ours = replace(found[0], epoch=lease.epoch, name=name)
        with suppress(ConflictError):  # the one before was writing: what it wrote last counts
            return ours, write_manifest(store, ours, found and found[1])
    raise lost(store)
