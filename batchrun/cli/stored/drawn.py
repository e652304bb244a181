"""Stored completions as the terminal shows them: a line each, or whole, as `show` has rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.text import Text

from batchrun.chat.stamps import ROW
from batchrun.chat.transcript import flattened
from batchrun.cli.show import draw_head, draw_text, draw_turns
from batchrun.cli.terminal import fact
from batchrun.show.conversation import facts, transcript, turns
from batchrun.stored import Place
from batchrun.stored.rows import Rows, created
from batchrun.wording import clean_line

if TYPE_CHECKING:
    from rich.console import Console

_BEGINNING = 80
"""Characters of an answer that are shown where lines have no end."""

_ENOUGH = 30
"""Columns that an answer needs on the line of its completion; else it has the next one."""

Document = dict[str, Any]


def draw_list(console: Console, place: Place, page: Sequence[Document]) -> None:
    """A line for each: id, time, model, the row that it is of, and how the answer begins."""
    rows = Rows(place).table(page, 0).to_pylist()
    cells = [_cells(completion) for completion in page]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    for line, row in zip(cells, rows, strict=True):
        padded = [text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True)]
        _draw_line(console, padded, _beginning(row))


def _cells(completion: Document) -> list[str]:
    return [
        clean_line(text)
        for text in (
            completion["id"],
            _moment(completion),
            str(completion.get("model") or ""),
            _row(completion),
        )
    ]


def _draw_line(console: Console, cells: list[str], beginning: str) -> None:
    head = Text.assemble((cells[0], "bold"), "  ", "  ".join(cells[1:]))
    if not console.is_terminal:
        head.append(f"  {beginning[:_BEGINNING]}")
        head.rstrip()
        console.print(head, soft_wrap=True)
        return
    left = console.width - head.cell_len - 2
    if left >= _ENOUGH:
        head.append(f"  {beginning}", "dim")
        beginning = ""
    for text in (head, Text(f"  {beginning}", "dim")):
        text.rstrip()
        if text:
            console.print(text, no_wrap=True, overflow="ellipsis", crop=False)


def draw_completion(console: Console, place: Place, completion: Document) -> None:
    """Its answer, what it took, when it was made, its labels."""
    row = Rows(place).table([completion], 0).to_pylist()[0]
    draw_head(console, completion["id"], "bold red" if row["status"] == "failed" else "bold")
    draw_turns(console, turns(row))
    told = [*facts(row), *filter(None, [_moment(completion)])]
    draw_text(console, "", " · ".join(told), None, indent=2, style="dim")
    draw_labels(console, completion)


def draw_labels(console: Console, completion: Document) -> None:
    """A line for each label."""
    for key, value in _labels(completion).items():
        fact(console, key, str(value))


def draw_messages(console: Console, messages: Sequence[Document]) -> None:
    """Who said what."""
    # content that is no text is in a member of its own
    spelled = [{**one, "content": one.get("content") or one.get("content_parts")} for one in messages]
    draw_turns(console, transcript([flattened(message) for message in spelled]))


def _beginning(row: Mapping[str, Any]) -> str:
    """The first text of the answer, on one line."""
    for turn in turns(row):
        for part in turn.parts:
            if part.text.strip():
                return clean_line(" ".join(part.text[: 4 * _BEGINNING].split()))
    return ""


def _labels(completion: Document) -> Mapping[str, Any]:
    labels = completion.get("metadata")
    return labels if isinstance(labels, Mapping) else {}


def _row(completion: Document) -> str:
    return str(_labels(completion).get(ROW) or "")


def _moment(completion: Document) -> str:
    """When it was made, in UTC: `2026-11-20T09:30:00Z`."""
    at = created(completion)
    return "" if at is None else datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
