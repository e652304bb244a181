"""The records of one task, put together again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from batchrun.run_folder.journal.lines import decode, encode
from batchrun.run_folder.journal.records import Answered, Continues, Done, Ran, Record, Sent, TaskRecord


@dataclass(slots=True)
class History:
    """The records of one task, as they come out of the journal."""

    sent: dict[int, Sent] = field(default_factory=dict)
    answered: dict[int, Answered] = field(default_factory=dict)
    ran: dict[int, Ran] = field(default_factory=dict)
    """By step."""
    continues: Continues | None = None
    done: Done | None = None
    lines: list[bytes] = field(default_factory=list)

    def add(self, record: TaskRecord, line: bytes) -> None:
        """Take one record of the task."""
        self.lines.append(line)
        match record:
            case Sent():
                self.sent[record.call] = record
            case Answered():
                self.answered[record.call] = record
            case Ran():
                self.ran[record.step] = record
            case Continues():
                self.continues = record
            case Done():
                self.done = record

    @property
    def is_whole(self) -> bool:
        """Whether the answer that the outcome speaks of is there: damage may have cost its record."""
        call = self.done.outcome.call if self.done else None
        return call is None or call in self.answered

    def reopen(self) -> None:
        """Go on without an outcome, and without answers to calls of which nothing else is known.

        Their lines go too: carried into the next journal file, they would end the task there, or answer
        a call that was made anew under the same number.
        """
        self.done = None
        self.answered = {call: record for call, record in self.answered.items() if call in self.sent}
        self.lines = [line for line in self.lines if self._still_holds(decode(line[:-1]))]

    def _still_holds(self, record: Record) -> bool:
        if isinstance(record, Answered):
            return record.call in self.answered
        return not isinstance(record, Done)

    def merge(self, later: History) -> None:
        """Take what a later journal file holds of the same task; it begins with the same lines."""
        self.sent |= later.sent
        self.answered |= later.answered
        self.ran |= later.ran
        self.continues = self.continues or later.continues
        self.lines = list(dict.fromkeys([*self.lines, *later.lines]))

    def continued(self, task: int, again: frozenset[int]) -> History:
        """The same records, without the outcome, as those of another task that goes on from them.

        `again` are calls whose answers are to be asked for again.
        """
        history = History()
        earlier = self.done.earlier if self.done else None
        records: list[TaskRecord] = [
            Continues(task, tuple(sorted(again)), earlier, first=max(self.sent, default=-1) + 1),
            *(replace(record, task=task) for record in self.sent.values()),
            *(replace(record, task=task) for call, record in self.answered.items() if call in self.sent),
            *(replace(record, task=task) for record in self.ran.values()),
        ]
        for record in records:
            history.add(record, encode(record))
        return history

    def own_calls(self) -> Iterator[tuple[Sent, Answered | None]]:
        """The calls of this task, each with its answer, without those of the one that it continues."""
        first = self.continues.first if self.continues else 0
        for call, sent in sorted(self.sent.items()):
            if call >= first:
                yield sent, self.answered.get(call)

    def replayable(self) -> Iterator[tuple[Sent, Answered]]:
        """The calls whose answers count as received, in their order."""
        again = self.continues.again if self.continues else ()
        for call, answered in sorted(self.answered.items()):
            if call in self.sent and call not in again:
                yield self.sent[call], answered
