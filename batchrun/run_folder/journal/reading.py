"""Reading journal files: which there are, their records, and what of them is damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batchrun.errors import RunFolderError
from batchrun.run_folder.journal.format_version import check_version
from batchrun.run_folder.journal.lines import DamagedRecordError, UnknownRecordError, decode
from batchrun.run_folder.journal.records import Header, Record

_NAME = re.compile(r"journal-(\d{6})\.log")


def journal_files(folder: Path) -> dict[int, Path]:
    """The journal files of a checkpoint by number, oldest first."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return dict(sorted((int(match[1]), path) for match, path in found if match))


@dataclass(frozen=True, slots=True)
class Damage:
    """Lines of a journal file that are no whole records."""

    path: Path
    line: int
    """The first of them, from 1."""
    bytes: int
    is_tail: bool
    """Whether it is an unfinished last line, as a kill or a power cut leaves it."""


class JournalReader:
    """Reads one journal file; `damage` holds what was passed over, once it has been read.

    Raises RunFolderError when the file was written by a newer batchrun.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: list[Damage] = []

    def records(self) -> Iterator[tuple[Record, bytes]]:
        """Each record with its line (newline included), damaged lines passed over."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    record = decode(line.removesuffix(b"\n"))
                except DamagedRecordError:
                    is_tail = not line.endswith(b"\n")
                    self.damage.append(Damage(self.path, number, len(line), is_tail))
                    continue
                except UnknownRecordError as error:
                    raise RunFolderError(
                        f"{self.path}:{number}: {error}",
                        hint="A newer batchrun wrote it: update batchrun, or use the version that wrote it.",
                    ) from error
                if isinstance(record, Header):
                    check_version(record.version, self.path)
                else:
                    # a cut that took the newline alone left a whole record: what is written after it
                    # must not join its line
                    yield record, line if line.endswith(b"\n") else line + b"\n"
