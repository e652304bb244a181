"""Text cut into tokens, which remembers where one of several labels was picked. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from batchrun.codec import dumps
from batchrun.simulator.making.structured import Label
from batchrun.simulator.making.vocabulary import tokens

END = "<|end|>"
"""The token that ends a text; it is part of none."""

Tokens: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picked:
    """A place where one label was written and others might have been."""

    place: int
    """Number of the label's first token in the text."""
    label: Tokens
    """What was written, with the token that ends it."""
    options: tuple[Tokens, ...]
    """What might have been written, `label` among it, each with the token that ends it."""

    def moved(self, by: int) -> Picked:
        """The same, `by` tokens later."""
        return Picked(self.place + by, self.label, self.options)


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens; joined, they are the text."""

    tokens: Tokens
    picked: tuple[Picked, ...] = ()

    def __str__(self) -> str:
        return "".join(self.tokens)

    def first(self, count: int) -> Text:
        """Its first `count` tokens."""
        return Text(self.tokens[:count], self.picked)

    def wrapped(self, before: str, after: str) -> Text:
        """The text between two others."""
        start = tokens(before)
        picked = tuple(one.moved(len(start)) for one in self.picked)
        return Text((*start, *self.tokens, *tokens(after)), picked)


def plain(text: str) -> Text:
    """Just a text."""
    return Text(tuple(tokens(text)))


def one_label(label: str, options: Sequence[str]) -> Text:
    """A text that is one of `options`."""
    ways = tuple((*tokens(option), END) for option in dict.fromkeys(options))
    return Text(tuple(tokens(label)), (Picked(0, (*tokens(label), END), ways),))


def as_json(value: Any) -> Text:
    """`value` as compact JSON, each Label in it marked."""
    written: list[str] = []
    picked: list[Picked] = []
    start = ""
    for piece in _pieces(value):
        if not isinstance(piece, Label):
            start += piece
            continue
        # The quotation mark before a label is a token of its own: no space comes before it.
        written += tokens(start + '"')
        label = _quoted(piece)
        picked.append(Picked(len(written), label, tuple(map(_quoted, piece.options))))
        written += label
        start = ""
    written += tokens(start)
    return Text(tuple(written), tuple(picked))


def _quoted(label: str) -> Tokens:
    """The tokens of a JSON string after its first quotation mark."""
    return tuple(tokens(dumps(str(label)).decode()[1:]))


def _pieces(value: Any) -> Iterator[str | Label]:
    """The parts of `value` as compact JSON; joined and quoted they are what `dumps` writes."""
    if isinstance(value, Label):
        yield value
    elif isinstance(value, Mapping):
        yield "{"
        for place, (name, member) in enumerate(value.items()):
            yield f"{',' if place else ''}{dumps(name).decode()}:"
            yield from _pieces(member)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for place, item in enumerate(value):
            if place:
                yield ","
            yield from _pieces(item)
        yield "]"
    else:
        yield dumps(value).decode()
