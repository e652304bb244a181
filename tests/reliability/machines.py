"""Machines that vanish with their disks while a run is kept in object storage, whose store fails at times.

Each round is one run: some machines, one after the other, are killed at random moments and thrown away; a
last one goes on to the end. What had been uploaded when a machine went must never be asked for again.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import batchrun
from batchrun.errors import RunFolderError
from batchrun.storage import Address
from tests.reliability.table import Line
from tests.remote.runs import Ended, Machine, Remote, remote_job
from tests.remote.server import Between, Fault, between, make_bucket, s3_server
from tests.runs import asked, row_of

ROWS = 400
LEASE = 1.5
_LATENCY = {"kind": "lognormal", "median": 0.15, "sigma": 0.5, "max": 1}
_KINDS: tuple[Fault, ...] = ("refused", "lost", "reset")


@dataclass
class Seen:
    """What rounds came to."""

    kills: int = 0
    faults: int = 0
    received: int = 0
    """Good answers that machines had received when they went."""
    gone: int = 0
    """Of these, that no upload held."""
    lost: int = 0
    duplicated: int = 0
    repaid: int = 0
    crashed: int = 0
    wrong: list[str] = field(default_factory=list)


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """The section's line."""
    rounds = 60 if full else 3
    seen = Seen()
    with s3_server() as server:
        for number in range(rounds):
            vanish(folder / str(number), server, number, seen)
    held = not (seen.lost or seen.duplicated or seen.repaid or seen.crashed)
    note = (
        f"of {seen.received:,} answers that they had, {seen.gone:,} had not been uploaded; "
        f"{seen.faults:,} requests to the store failed"
    )
    yield Line(
        "machines thrown away with their disks",
        f"{seen.kills:,} kills in {rounds} runs of {ROWS} rows",
        held,
        lost=seen.lost,
        duplicated=seen.duplicated,
        repaid=seen.repaid,
        crashed=seen.crashed,
        note="; ".join([note, *seen.wrong[:5]]),
    )


def vanish(folder: Path, server: str, seed: int, seen: Seen) -> None:
    """One run."""
    drawn = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    bucket = f"machines-{os.getpid()}-{seed}"
    make_bucket(server, bucket)
    with ExitStack() as stack:
        store = stack.enter_context(between(server))
        environment = {
            "AWS_ACCESS_KEY_ID": "of-a-test",
            "AWS_SECRET_ACCESS_KEY": "of-a-test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": store.url,
            "XDG_STATE_HOME": str(folder / "reader"),
        }
        stack.enter_context(patch.dict(os.environ, environment))
        work = stack.enter_context(
            remote_job(folder, Address("s3", bucket, ""), rows=ROWS, config={"latency": _LATENCY})
        )
        uploaded: dict[int, float] = {}
        for number in range(drawn.randint(1, 3)):
            _fail(store, drawn, drawn.choice([0.0, 0.1, 0.3]))
            machine = work.machine(f"machine-{number}")
            _kill(work, machine, drawn, seen)
            _fail(store, drawn, 0.0)
            _note_uploaded(work, uploaded)
        ended = work.machine("last").submit(interval=0.5, lease=LEASE, seal_rows=40)
        _judge(work, ended, uploaded, seen, f"run {seed}")
        seen.faults += store.faults


def _fail(store: Between, drawn: random.Random, share: float) -> None:
    """From now on so many requests to the store end badly."""
    if share:
        own = random.Random(drawn.random())
        store.fault = lambda _method, _path: own.choice(_KINDS) if own.random() < share else None
    else:
        store.fault = lambda _method, _path: None


def _kill(work: Remote, machine: Machine, drawn: random.Random, seen: Seen) -> None:
    """A submit that is killed at a random moment, or ends before it; its disk goes with it."""
    before = sum(work.answered().values()) if work.job.ledger.exists() else 0
    process = machine.start(interval=drawn.choice([0.2, 0.5, 1.0]), lease=LEASE, seal_rows=40)
    calls = len(work.job.calls()) if work.job.ledger.exists() else 0
    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end:
        if work.job.ledger.exists() and len(work.job.calls()) > calls:
            break
        time.sleep(0.02)
    time.sleep(drawn.uniform(0.1, 2.5))
    if process.poll() is None:
        process.kill()
        seen.kills += 1
    ended = Ended.of(process)
    seen.crashed += ended.code not in (-9, 0, 3)
    if ended.code not in (-9, 0, 3):
        seen.wrong.append(f"exit code {ended.code}: {ended.said[-300:]}")
    machine.lose_disk()
    time.sleep(0.1)  # answers on their way are in the ledger
    received = (sum(work.answered().values()) if work.job.ledger.exists() else 0) - before
    seen.received += received
    seen.gone += max(0, received - _kept_of(work))


def _kept_of(work: Remote) -> int:
    """Rows that this machine's submit had uploaded."""
    found = work.store.read("manifest.json")
    lease = work.store.read("lease.json")
    if not found or not lease:
        return 0
    manifest = work.manifest()
    return int(manifest.told.get("rows", 0)) if manifest.told.get("epoch") == manifest.epoch else 0


def _note_uploaded(work: Remote, uploaded: dict[int, float]) -> None:
    """Which rows a machine finds answered that knows the bucket alone, from this moment on."""
    now = time.time()
    try:
        rows = batchrun.scan_results(str(work.place)).select("row_index", "status").collect()
    except RunFolderError:  # nothing was uploaded yet
        return
    for row, status in rows.iter_rows():
        if status == "ok":
            uploaded.setdefault(row, now)


def _judge(work: Remote, ended: Ended, uploaded: dict[int, float], seen: Seen, name: str) -> None:
    rows = work.results()
    indices = rows["row_index"].to_list()
    lost = ROWS - len(set(indices)) + int((rows["status"] != "ok").sum())
    again = [
        call
        for row, calls in asked(work.job.calls()).items()
        for call in calls
        if row in uploaded and call.at > uploaded[row]
    ]
    seen.lost += lost
    seen.duplicated += len(indices) - len(set(indices))
    seen.repaid += len(again)
    seen.crashed += ended.code != 0
    if ended.code or lost or again:
        asked_again = sorted({row_of(call.prompt) for call in again})[:5]
        seen.wrong.append(
            f"{name}: exit code {ended.code}, {lost} lost, again {asked_again}: {ended.said[-300:]}"
        )
