"""Places in the middle of an input where reading can begin: a table that many read is not read n times.

Parquet files say in their footers how many rows a group has; a file of JSON lines is looked through once for
them. What is compressed, and CSV, whose quotes may hold line ends, is read from its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from batchrun.source.files import SourceFile
from batchrun.source.stream import BOM, Overlong, chunks, split_lines
from batchrun.value import value

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERY = 4_000_000
"""Bytes between two places, about."""


@value(frozen=True, slots=True)
class Mark:
    """A place between two rows: the file by its position, the byte in it, the lines before that in it, and
    the number of the row that comes next."""

    file: int
    offset: int
    line: int
    row: int


def marks(files: Sequence[SourceFile], every: int = EVERY) -> Iterator[Mark]:
    """Places in files of JSON lines, the starts of the files among them; none for other formats.

    Raises InputError.
    """
    row = 0
    for number, file in enumerate(files):
        if file.format not in ("jsonl", "openai-batch") or file.compression:
            return
        offset = line = 0
        yield Mark(number, offset, line, row)
        last = 0
        for lines in split_lines(chunks(file, bom=True)):
            for text in lines:
                offset += (text.size if isinstance(text, Overlong) else len(text)) + 1
                row += isinstance(text, Overlong) or _is_row(text if line else text.removeprefix(BOM))
                line += 1
            if offset - last >= every:
                last = offset
                yield Mark(number, offset, line, row)


def _is_row(line: bytes) -> bool:
    return bool(line) and not line.isspace()
