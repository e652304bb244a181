"""Flip a bit at every byte of a journal, cut it everywhere, and drop, repeat, swap and join its lines.

The journal is a real run's: a row that a function helped, and one whose second call failed and that a second
submit took up again, so that all kinds of records are in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq

from batchrun import codec
from batchrun.run_folder.checkpoint.checkpoint import read_checkpoint
from batchrun.run_folder.checkpoint.sealed import sealed_parts, sealed_table
from batchrun.run_folder.journal.format_version import FORMAT_VERSION
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.reading import JournalReader
from batchrun.run_folder.journal.records import Admitted, Header
from tests.reliability import flipped
from tests.reliability.table import Line
from tests.runs import simulated
from tests.submits.test_conversations import with_functions

BOOKS = frozenset(
    {"attempts", "usage", "cost_usd", "latency", "ttft", "started_at", "model", "endpoint", "batch"}
)
"""What is known of a row's calls. One whose record is gone without a trace is missing there."""

KINDS = ("journal", "admitted", "sent", "answer", "ran", "continues", "done")


@dataclass(slots=True)
class Read:
    """What became of the damaged journals."""

    cases: int = 0
    lost: int = 0
    """Records missing although their bytes were whole."""
    accepted: int = 0
    """Records, or finished rows, other than those that were written."""
    unnoticed: int = 0
    """Damaged bytes that the reader did not tell of."""
    books: int = 0
    """Finished rows that stand as they were but for a call that is missing in their books."""
    faults: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether all that is promised was so."""
        return not (self.lost or self.accepted or self.unnoticed)


def real_lines(folder: Path) -> list[bytes]:
    """A journal's lines, each with its newline, as a real run wrote them."""
    broken = {"faults": [{"mentions": '"found":true', "match": "row 000001", "first": 1, "status": 503}]}
    retry = {"max_attempts": 1, "backoff": {"initial": 0.01, "max": 0.01}}
    with simulated(folder, rows=2, config=broken, retry=retry) as job:
        with_functions(job, "look_up")
        job.submit_here()
        job.submit_here()
        admitted = Admitted(codec.loads((job.checkpoint / "admitted.json").read_bytes()))
        tasks = [
            lines
            for path in sealed_parts(job.checkpoint).values()
            for lines in pq.read_table(path, columns=["_records"]).column(0).to_pylist()
        ]
    return [encode(Header(FORMAT_VERSION)), encode(admitted), *(line for lines in tasks for line in lines)]


def kinds(lines: list[bytes]) -> set[str]:
    """The first member of each record, which names its kind."""
    return {next(iter(codec.loads(line[9:]))) for line in lines}


def damage_bytes(folder: Path, lines: list[bytes], *, every: int, seed: int) -> Read:
    """Change each `every`th byte of the file in four ways."""
    seen, random, whole = Read(), Random(seed), b"".join(lines)
    for at in range(0, len(whole), every):
        for byte in {whole[at] ^ 1 << random.randrange(8), 0x00, 0xFF, 0x0A} - {whole[at]}:
            data = whole[:at] + bytes([byte]) + whole[at + 1 :]
            _compare(folder, data, _untouched(lines, at), seen, f"byte {at} is {byte:#x}", noticed=True)
    return seen


def cut_short(folder: Path, lines: list[bytes], *, every: int) -> Read:
    """Cut the file after each `every`th byte."""
    seen, whole = Read(), b"".join(lines)
    ends = _ends(lines)
    for length in range(0, len(whole), every):
        kept = [line for line, end in zip(lines, ends, strict=True) if end - 1 <= length]
        rest = length - sum(map(len, kept))
        _compare(folder, whole[:length], kept, seen, f"cut at {length}", noticed=rest > 0)
    return seen


def _ends(lines: list[bytes]) -> list[int]:
    at, ends = 0, []
    for line in lines:
        at += len(line)
        ends.append(at)
    return ends


def _untouched(lines: list[bytes], at: int) -> list[bytes]:
    """The lines that do not hold byte `at`; a newline parts two, so without it both are damaged."""
    starts = [0, *_ends(lines)]
    return [
        line
        for number, line in enumerate(lines)
        if not (starts[number] <= at < starts[number + 1] or starts[number] == at + 1)
    ]


def _compare(folder: Path, data: bytes, wanted: list[bytes], seen: Read, what: str, *, noticed: bool) -> None:
    path = folder / "journal-000001.log"
    path.write_bytes(data)
    reader = JournalReader(path)
    found = [line for _, line in reader.records()]
    records = [line for line in wanted if not line.startswith(b'{"journal"', 9)]
    lost = len(set(records) - set(found))
    accepted = len(set(found) - set(records))
    unnoticed = noticed and not reader.damage
    seen.cases += 1
    seen.lost += lost
    seen.accepted += accepted
    seen.unnoticed += unnoticed
    if lost or accepted or unnoticed:
        seen.faults.append(f"{what}: {lost} lost, {accepted} accepted, noticed: {bool(reader.damage)}")


def rearrange(folder: Path, lines: list[bytes], other: list[bytes]) -> Read:
    """Drop, repeat and swap each line, and put the files together: no finished row may come out otherwise.

    A dropped line leaves no trace in its file: its row is asked again where it mattered.
    """
    seen = Read()
    wanted = _finished(folder, lines) | _finished(folder, other)
    for what, changed in _arrangements(lines, other):
        found = _finished(folder, changed)
        told = {task: _told(row) for task, row in wanted.items()}
        wrong = [task for task, row in found.items() if told.get(task) != _told(row)]
        seen.cases += 1
        seen.books += sum(wanted.get(task) != row for task, row in found.items()) - len(wrong)
        seen.accepted += len(wrong)
        seen.faults += [
            f"{what}: task {task}: {_difference(wanted.get(task), found[task])}" for task in wrong
        ]
    return seen


def _arrangements(lines: list[bytes], other: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    for at in range(len(lines)):
        yield f"line {at + 1} dropped", lines[:at] + lines[at + 1 :]
        yield f"line {at + 1} twice", lines[: at + 1] + lines[at:]
        for to in range(at + 1, len(lines)):
            swapped = list(lines)
            swapped[at], swapped[to] = swapped[to], swapped[at]
            yield f"lines {at + 1} and {to + 1} swapped", swapped
    yield "joined", lines + other
    yield "joined the other way", other + lines
    yield "joined without a newline", [*lines[:-1], lines[-1].rstrip(b"\n"), *other]


def _finished(folder: Path, lines: list[bytes]) -> dict[int, dict[str, Any]]:
    """The finished rows by task, as they would be sealed."""
    (folder / "journal-000001.log").write_bytes(b"".join(lines))
    rows: dict[int, dict[str, Any]] = {}
    for finished in read_checkpoint(folder).unsealed.values():
        for row in sealed_table(finished).drop(["_records"]).to_pylist():
            rows[row["_task"]] = row
    return rows


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A finished row without its books."""
    return {name: value for name, value in row.items() if name not in BOOKS}


def _difference(wanted: dict[str, Any] | None, found: dict[str, Any]) -> str:
    if wanted is None:
        return "it was not finished"
    return "; ".join(
        f"{name}: {wanted[name]!r} → {found[name]!r}"[:200] for name in wanted if wanted[name] != found[name]
    )


def lines(folder: Path, full: bool) -> Iterator[Line]:
    """Damage to a journal, and to every other file of a run folder."""
    (folder / "real").mkdir()
    (folder / "checkpoint").mkdir()
    found = real_lines(folder / "real")
    here, size = folder / "checkpoint", f"{len(found)} records, {sum(map(len, found)):,} bytes"
    every = 1 if full else 41
    half = len(found) // 2
    yield _line("bytes of a journal changed", damage_bytes(here, found, every=every, seed=0), size)
    yield _line("a journal cut short", cut_short(here, found, every=every), size)
    yield _line(
        "lines dropped, repeated, swapped, files joined", rearrange(here, found[:half], found[half:]), size
    )
    yield from flipped.lines(folder, full)


def _line(test: str, seen: Read, size: str) -> Line:
    return Line(
        test,
        f"{seen.cases:,} cases, {size}",
        held=seen.held,
        lost=seen.lost,
        crashed=0,
        note=f"{seen.accepted} wrong values accepted, {seen.unnoticed} unnoticed"
        + (f"; {seen.books} rows lack a call in `attempts`" if seen.books else "")
        + "".join(f"; {fault}" for fault in seen.faults[:5]),
    )
