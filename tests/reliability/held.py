"""What the files of a checkpoint hold, told from their bytes: no reader of batchrun's own is asked.

A row may make several calls: its *ask* number 0, 1, … is its prompt and each turn after that. Prompts of
`write_rows` name their row, and a turn's text here ends in `turn 1`, `turn 2`, …
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow.parquet as pq

from tests.runs import row_of

Ask: TypeAlias = tuple[int, int]
"""A row and the number of its ask."""

CallId: TypeAlias = tuple[int, int]
"""A task and the number of its call, as the journal has them."""


def ask_of(prompt: str) -> Ask:
    """The ask that a prompt makes."""
    _, turn, number = prompt.rpartition("turn ")
    return row_of(prompt), int(number) if turn else 0


@dataclass(slots=True)
class Held:
    """Calls and answers that a checkpoint has records of."""

    sent: dict[CallId, Ask] = field(default_factory=dict)
    answered: set[CallId] = field(default_factory=set)
    """Whatever came of the call."""
    carried: dict[int, int] = field(default_factory=dict)
    """How many calls a task took over from an asking that failed, which made them."""
    answers: dict[Ask, set[str]] = field(default_factory=dict)
    """The ids of completions (status 200) received for an ask."""

    def take(self, lines: Iterable[bytes]) -> None:
        """Add the records in these lines; damaged ones are passed over."""
        for line in lines:
            record = _record(line.rstrip(b"\n"))
            if "sent" in record:
                self.sent[record["sent"], record["call"]] = (record["row"], record.get("step", 0))
            elif "continues" in record:
                self.carried[record["continues"]] = record["first"]
            elif "answer" in record:
                call = (record["answer"], record["call"])
                self.answered.add(call)
                if record.get("status") == 200 and call in self.sent:
                    said = json.loads(record["body"])["id"]
                    self.answers.setdefault(self.sent[call], set()).add(said)

    def add(self, other: Held) -> None:
        """Take over what other files hold."""
        self.sent |= other.sent
        self.answered |= other.answered
        self.carried |= other.carried
        for ask, ids in other.answers.items():
            self.answers.setdefault(ask, set()).update(ids)

    def open_calls(self) -> set[CallId]:
        """Calls that were sent, and of which nothing else is known."""
        return {
            (task, call)
            for task, call in self.sent.keys() - self.answered
            if call >= self.carried.get(task, 0)
        }


def _record(line: bytes) -> dict[str, Any]:
    """A journal line, read by its own rule: CRC-32 of the text in hexadecimal, a space, the text."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return {}
    record: dict[str, Any] = json.loads(text)
    return record


class Reader:
    """Reads a checkpoint again and again; sealed parts, which never change, once."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, int, int], Held] = {}

    def read(self, checkpoint: Path) -> Held:
        """What the files hold now. Nothing may be writing them."""
        found = Held()
        for path in sorted(checkpoint.glob("sealed-??????.parquet")):
            stat = path.stat()
            key = (path.name, stat.st_ino, stat.st_mtime_ns)
            if key not in self._parts:
                self._parts[key] = Held()
                self._parts[key].take(_sealed_lines(path))
            found.add(self._parts[key])
        for path in sorted(checkpoint.glob("journal-??????.log")):
            with path.open("rb") as lines:
                found.take(lines)
        return found


def _sealed_lines(path: Path) -> Iterator[bytes]:
    for records in pq.read_table(path, columns=["_records"]).column(0).to_pylist():
        yield from records
