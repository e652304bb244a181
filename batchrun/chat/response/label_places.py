"""How a label can be written in an answer: as the whole text, or as a JSON string somewhere in it.

Texts are bytes here, as a token may end in the middle of a character.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_SPACE = b" \t\r\n"
_AFTER = b" \t\r\n,]}"
"""What may follow a string in JSON."""

_DECODER = json.JSONDecoder(strict=False)
_SHORT = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
"""The escapes of two characters (RFC 8259, section 7)."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A label that is the whole text, space around it aside."""

    given: bytes = b""

    def begins(self, text: bytes) -> bytes | None:
        """What `text` holds of the label: see `Quoted.begins`."""
        return text.lstrip()

    def spells(self, label: str, begun: bytes, *, ended: bool) -> bool:
        """Whether `begun` is the label or, unless the answer `ended` here, can still become it."""
        written = label.strip().encode("utf-8", "surrogatepass")
        return begun.rstrip() == written or (not ended and written.startswith(begun))


@dataclass(frozen=True, slots=True)
class Quoted:
    """A label that is a JSON string: after `given` come `marks`, with any space before each of them.

    `given` ends with the name of the member whose value the label is; `marks` are the colon, if there
    is such a member, and the opening quote.
    """

    given: bytes
    marks: bytes

    def begins(self, text: bytes) -> bytes | None:
        """What `text` holds of the string; empty before its opening quote, None if it cannot follow."""
        if len(text) <= len(self.given):
            return b"" if self.given.startswith(text) else None
        if not text.startswith(self.given):
            return None
        rest = text[len(self.given) :]
        for mark in self.marks:
            rest = rest.lstrip(_SPACE)
            if not rest:
                return b""
            if rest[0] != mark:
                return None
            rest = rest[1:]
        return rest

    def spells(self, label: str, begun: bytes, *, ended: bool) -> bool:
        """Whether `begun` is the label up to its closing quote or, unless `ended`, can still become it."""
        for character in label:
            if not begun:
                return not ended
            for form in _forms(character):
                head = begun[: len(form)]
                if head.startswith(b"\\u"):
                    head = head.lower()
                if head == form:
                    begun = begun[len(form) :]
                    break
                if form.startswith(head):
                    return not ended
            else:
                return False
        if not begun:
            return not ended
        return begun.startswith(b'"') and (len(begun) == 1 or begun[1] in _AFTER)


@lru_cache(maxsize=4096)
def _forms(character: str) -> tuple[bytes, ...]:
    """The ways to write a character in a JSON string, none the beginning of another; hex in lower case.

    Any character may be escaped; those of ASCII that need not be are taken not to be, as otherwise a
    backslash would be a possible beginning of every label.
    """
    forms = []
    if not " " <= character <= "~" or character in _SHORT:
        units = character.encode("utf-16-be", "surrogatepass")
        forms.append("".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)).encode())
    if character in _SHORT:
        forms.append(f"\\{_SHORT[character]}".encode())
    if character not in '"\\':
        forms.append(character.encode("utf-8", "surrogatepass"))
    return tuple(forms)


def find(labels: Sequence[str], text: bytes, path: Sequence[str]) -> tuple[Whole | Quoted, str] | None:
    """Where in the `text` of an answer a label stands, and which; None where there is none.

    `path` names the member, from the outermost object in; without one the label is the whole text,
    bare or as a JSON string.
    """
    for place in _member(text, path) if path else (Whole(), Quoted(b"", b'"')):
        begun = place.begins(text)
        said = [label for label in labels if begun is not None and place.spells(label, begun, ended=True)]
        if len(said) == 1:
            return place, said[0]
    return None


def _member(text: bytes, path: Sequence[str]) -> tuple[Quoted, ...]:
    """The place of a member of the first object in `text`, which may be cut off after it."""
    decoded = text.decode("utf-8", "surrogateescape")
    at = decoded.find("{")
    for name in path:
        end = _name_end(decoded, at, name) if at >= 0 else None
        if end is None:
            return ()
        at = _skip(decoded, _skip(decoded, end) + 1)
    return (Quoted(decoded[:end].encode("utf-8", "surrogateescape"), b':"'),)


def _name_end(text: str, at: int, wanted: str) -> int | None:
    """Where the name of a member of the object at `at` ends, its quote included."""
    try:
        while text[at] in "{,":
            name, end = _DECODER.raw_decode(text, _skip(text, at + 1))
            if name == wanted:
                return end
            at = _skip(text, _skip(text, end) + 1)
            at = _skip(text, _DECODER.raw_decode(text, at)[1])
    except (ValueError, IndexError, RecursionError):
        return None
    return None


def _skip(text: str, at: int) -> int:
    """The first place from `at` on that is no JSON space."""
    while text[at : at + 1] and text[at] in " \t\r\n":
        at += 1
    return at
