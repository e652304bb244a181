"""The lease on a run in object storage: one submit at a time, though no file lock reaches that far.

It is one small object. Whoever takes it writes its name and the next epoch there, and writes it anew every
`BEAT` seconds; both only if nobody has written it meanwhile. A holder that stays silent for `TTL` seconds has
lost it: that is seen by looking twice, never by comparing clocks. The epoch fences the holder before: what it
publishes must replace a manifest that its successor has already replaced (Kleppmann, "How to do distributed
locking", 2016).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from batchrun import codec
from batchrun.errors import LeaseLostError, RunFolderError, RunLockedError
from batchrun.storage import ConflictError, Store, Version
from batchrun.wording import duration

KEY = "lease.json"
TTL = 30.0
BEAT = 10.0
_LOOK = 1.0
"""Seconds: silence after which a lease has run out, between two renewals, between two looks at another's."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a run, or did last. `ttl` in seconds, `at` in seconds since the epoch by its own clock."""

    holder: str
    epoch: int
    beat: int
    host: str
    pid: int
    ttl: float
    at: float
    released: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)
    """What its submit had done by then."""
    owed: Sequence[Mapping[str, Any]] = ()
    """What was lost with earlier holders and is not in the run's books yet (`Loss.document`)."""

    def is_held(self, now: float) -> bool:
        """Whether its holder is at work `now`, in seconds since the epoch: by two clocks, so only to tell."""
        return not self.released and now - self.at < self.ttl

    def document(self) -> bytes:
        """As it is stored: bytes that no other writing has."""
        return codec.dumps(asdict(self)) + b"\n"

    @classmethod
    def read(cls, data: bytes) -> Lease:
        """It again. Raises ValueError for what is none."""
        try:
            return cls(**codec.loads(data))
        except TypeError as error:
            raise ValueError(f"no lease: {error}") from error


def read_lease(store: Store) -> tuple[Lease, Version] | None:
    """Who works on a run, or did last; None where nobody ever did, or what is there cannot be read."""
    found = store.read_version(KEY)
    if found is None:
        return None
    try:
        return Lease.read(found[0]), found[1]
    except ValueError:
        return Lease("", 0, 0, "", 0, TTL, 0.0), found[1]


class HeldLease:
    """A lease that this process holds. Not for two threads at once.

    `goes_on`: whether the one before was this holder's, too, and was not released.
    """

    def __init__(self, store: Store, lease: Lease, version: Version, *, goes_on: bool = False) -> None:
        self._store = store
        self._version = version
        self.lease = lease
        self.goes_on = goes_on

    def renew(self, told: Mapping[str, Any], owed: Sequence[Mapping[str, Any]] = ()) -> None:
        """Say that the submit is alive, what it has done, and what is still owed. Raises LeaseLostError,
        ObjectStorageError."""
        now = replace(self.lease, beat=self.lease.beat + 1, at=time.time())
        self._write(replace(now, told=dict(told), owed=owed))

    def release(self, owed: Sequence[Mapping[str, Any]] = ()) -> None:
        """Leave it to the next. Raises as `renew`."""
        now = replace(self.lease, beat=self.lease.beat + 1, at=time.time())
        self._write(replace(now, released=True, owed=owed))

    def _write(self, lease: Lease) -> None:
        try:
            self._version = self._store.replace(KEY, lease.document(), self._version)
        except ConflictError:
            self._version = self._written_again(lease)
        self.lease = lease

    def _written_again(self, lease: Lease) -> Version:
        """What is there may be ours all the same: written by a renewal whose answer never came."""
        found = read_lease(self._store)
        if found is not None and (found[0].holder, found[0].epoch) == (lease.holder, lease.epoch):
            with suppress(ConflictError):
                return self._store.replace(KEY, lease.document(), found[1])
        raise lost(self._store)


def lost(store: Store) -> LeaseLostError:
    """What to raise where another submit has taken over."""
    found = read_lease(store)
    by = f" by a submit on {found[0].host} (process {found[0].pid})" if found and found[0].host else ""
    return LeaseLostError(
        f"{store.at} was taken over{by}, while this submit could not renew its lease",
        hint="This one has stopped, and published nothing since. What it had received is kept in its local "
        "copy. Wait for the other one, or look at it with `batchrun status`.",
    )


def take_lease(
    store: Store,
    holder: str,
    *,
    say: Callable[[str], None],
    ttl: float = TTL,
    above: int = 0,
    lost_with: Callable[[Lease], Mapping[str, Any]] = lambda lease: {},
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> HeldLease:
    """Take the lease of a run.

    At once where nobody holds it, it was released, or this very `holder` had it; else it must stay as it is
    for its own `ttl`, and `lost_with` says what went with its holder: written over, nobody else would know.
    Its epoch is `above` that of the manifest, too: the lease may have been removed. Raises RunLockedError
    when its holder is alive.
    """
    found = read_lease(store)
    if found and not found[0].released and found[0].holder != holder:
        _await_silence(store, found, say=say, clock=clock, sleep=sleep)
    before = found[0] if found else None
    owed = [*before.owed] if before else []
    cut_off = before if before and not before.released else None
    goes_on = cut_off is not None and cut_off.holder == holder
    if cut_off and not goes_on:
        owed.append(lost_with(cut_off))
    lease = Lease(
        holder,
        epoch=1 + max(above, before.epoch if before else 0),
        beat=0,
        host=socket.gethostname(),
        pid=os.getpid(),
        ttl=ttl,
        at=time.time(),
        owed=owed,
    )
    try:
        if found is None:
            version = store.create(KEY, lease.document())
        else:
            version = store.replace(KEY, lease.document(), found[1])
    except ConflictError:
        raise _held(store) from None
    _require_conditions(store)
    return HeldLease(store, lease, version, goes_on=goes_on)


def _require_conditions(store: Store) -> None:
    """Raises RunFolderError for a store that takes a write whose condition does not hold: two submits could
    work on the run, and each would undo what the other has published."""
    stale = {"e_tag": '"of-no-writing"', **({"version": "0"} if store.at.scheme == "gs" else {})}
    for attempt in (store.create, partial(store.replace, version=stale)):
        with suppress(ConflictError):
            attempt(KEY, b"no lease\n")
            raise RunFolderError(
                f"{store.at}: the server takes writes whose conditions (If-None-Match, If-Match) do not hold",
                hint="A run cannot be kept safely there. Use a store that honours them, as Amazon's S3 does, "
                "or a local output.path.",
            )


def _await_silence(
    store: Store,
    found: tuple[Lease, Version],
    *,
    say: Callable[[str], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    lease, version = found
    end = clock() + lease.ttl
    said = False
    while clock() < end:
        sleep(min(_LOOK, lease.ttl / 10))
        now = read_lease(store)
        if now is None or now[1] != version:
            raise _held(store)
        if not said and clock() > end - lease.ttl + 1.5 * BEAT:
            said = True
            say(
                f"a submit on {lease.host} (process {lease.pid}) holds {store.at} and has been silent for "
                f"{duration(1.5 * BEAT)}: it is taken over {duration(lease.ttl)} after its last sign of life"
            )


def _held(store: Store) -> RunLockedError:
    found = read_lease(store)
    who = f" on {found[0].host} (process {found[0].pid})" if found and found[0].host else ""
    return RunLockedError(
        f"another submit is running on {store.at}{who}",
        hint="Wait for it, look at it with `batchrun status`, or give this one a --name of its own.",
    )
