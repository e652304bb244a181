"""Rows as they would be asked, at a height that leaves them comparable."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from batchrun.chat.transcript import flattened
from batchrun.cli.terminal import INDENT, fact, headline
from batchrun.show.conversation import Turn, transcript

if TYPE_CHECKING:
    from rich.console import Console

    from batchrun.planning import Example

_LINES = 12
"""Lines of the longest text that is shown whole."""
_BEGINNING, _END = 6, 2
"""Lines of a longer one that are."""
_WORD = 30
"""Characters of the longest word that is not cut."""
_TURNS = 8
"""Messages of a request that are shown, likewise."""
_WIDEST = 100
"""Columns that a text is taken to have where lines are not broken."""
_REPEATED = 60
"""Characters of a text that is said again rather than pointed at."""

Said = tuple[str, str]
"""Who says something, or what it is called, and the text."""


def tell_examples(console: Console, shown: Sequence[Example]) -> None:
    """Each as a conversation and its parameters; the only one, which was asked for, whole."""
    before: list[Said] = []
    for example in shown:
        said = list(_said(example))
        headline(console, _heading(example))
        for label, text in said if example.why == "chosen" else _shortened(console, said, before):
            fact(console, label, text)
        console.print()
        before = said


def _heading(example: Example) -> str:
    which = f": {example.why}" if example.why not in ("further", "chosen") else ""
    size = f", about {example.prompt_tokens:,} tokens" if example.why.endswith("longest") else ""
    return f"Request for row {example.row_id} ({example.location}){which}{size}"


def _said(example: Example) -> Iterator[Said]:
    """What a request says: its messages, what follows them, its parameters."""
    request: dict[str, Any] = dict(example.request)
    for turn in transcript([flattened(message) for message in request.pop("messages")]):
        yield turn.role, _text(turn)
    for turn in transcript([flattened(message) for message in example.turns]):
        yield "then", _text(turn)
    yield "with", ", ".join(f"{name} {_spelled(value)}" for name, value in request.items())


def _text(turn: Turn) -> str:
    return "\n".join(f"{part.label}{part.text}" for part in turn.parts).rstrip("\n")


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _shortened(console: Console, said: list[Said], before: list[Said]) -> Iterator[Said]:
    """The same without what the request before says at the same place, and without long texts' middle."""
    width = max(20, min(console.width, _WIDEST) - INDENT)
    left_out = range(_TURNS // 2, len(said) - _TURNS // 2)
    for at, (label, text) in enumerate(said):
        if at in left_out and len(left_out) > 1:
            if at == left_out.start:
                yield "…", f"{len(left_out)} more messages"
        elif len(text) > _REPEATED and at < len(before) and before[at] == (label, text):
            yield label, "(as above)"
        else:
            yield label, without_middle(text, width)


def without_middle(text: str, width: int) -> str:
    """A text of many lines of `width` characters as its beginning, how much is left out, and its end."""
    if len(text) <= _LINES * width and _height(text.split("\n"), width) <= _LINES:
        return text
    head = _first_lines(text[: _BEGINNING * width], _BEGINNING, width)
    tail = _first_lines(text[: -_END * width - 1 : -1], _END, width)[::-1]
    return f"{head} …\n[{len(text) - len(head) - len(tail):,} characters left out]\n… {tail}"


def _height(lines: list[str], width: int) -> int:
    return sum(max(1, -(-len(line) // width)) for line in lines)


def _first_lines(text: str, lines: int, width: int) -> str:
    """What of a text stands on so many lines, up to the end of a word."""
    kept: list[str] = []
    for line in text.split("\n"):
        free = lines - _height(kept, width)
        if free <= 0:
            break
        kept.append(line if len(line) < free * width else _whole_words(line[: free * width]))
    return "\n".join(kept)


def _whole_words(line: str) -> str:
    words = re.sub(rf"\S{{1,{_WORD}}}$", "", line).rstrip()
    return words or line
