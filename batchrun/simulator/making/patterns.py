"""A text that a simple regular expression matches. Pure.

Understood: characters, escapes (d w s n t and marks), `.`, classes of characters and ranges, groups,
alternatives, the quantifiers `? * + {n} {n,} {n,m}`, and anchors, which change nothing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from batchrun.simulator.making.draws import numbers

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_CLASSES = {"d": "0123456789", "w": _LETTERS + "0123456789", "s": " ", "n": "\n", "t": "\t"}
_QUANTIFIER = re.compile(r"\{(\d+)(,?)(\d*)\}|[?*+]")
_MORE = 3
"""How often at most a quantifier without an upper bound repeats beyond its lower one."""
_MOST = 256


def sample(pattern: str, *draw: object) -> str:
    """A text that matches `pattern` as a whole, the same for the same `draw`.

    Raises ValueError when the pattern is wrong, or holds what is not understood here.
    """
    try:
        matcher = re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise ValueError(f"the regular expression is wrong: {error}") from error
    sampler = _Sampler(pattern, numbers(64, "pattern", pattern, *draw))
    text = sampler.alternatives()
    if sampler.place < len(pattern) or not matcher.fullmatch(text):
        raise ValueError(f"the simulator does not understand the regular expression {pattern[:60]!r}")
    return text


@dataclass
class _Sampler:
    pattern: str
    chances: list[int]
    place: int = 0
    drawn: int = 0

    def alternatives(self) -> str:
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        return options[self._draw(len(options))]

    def _sequence(self) -> str:
        text = ""
        while self.place < len(self.pattern) and self.pattern[self.place] not in "|)":
            text += self._repeated()
        return text

    def _repeated(self) -> str:
        start = self.place
        text = self._atom()
        end = self.place
        found = _QUANTIFIER.match(self.pattern, end)
        if not found:
            return text
        after = found.end()
        texts = []
        for _ in range(self._count(found)):
            self.place = start  # each repetition draws for itself
            texts.append(self._atom())
        self.place = after
        return "".join(texts)

    def _count(self, found: re.Match[str]) -> int:
        low, high = {"?": (0, 1), "*": (0, _MORE), "+": (1, 1 + _MORE)}.get(found[0], (0, 0))
        if found[1]:
            low = int(found[1])
            high = int(found[3]) if found[3] else low + _MORE if found[2] else low
        if low > _MOST:
            raise ValueError(f"the simulator repeats no more than {_MOST} times")
        return low + self._draw(min(high, low + _MORE) - low + 1)

    def _atom(self) -> str:
        character = self.pattern[self.place]
        self.place += 1
        match character:
            case "^" | "$":
                return ""
            case "(":
                return self._group()
            case "[":
                return self._pick(self._class())
            case "\\":
                return self._pick(self._escaped())
            case ".":
                return self._pick(_LETTERS)
        return character

    def _group(self) -> str:
        if self._take("?") and not self._take(":"):
            raise ValueError("the simulator understands no groups but ( ) and (?: )")
        text = self.alternatives()
        self._take(")")
        return text

    def _class(self) -> str:
        characters = ""
        if self._take("^"):
            raise ValueError("the simulator understands no negated classes of characters")
        while self.pattern[self.place] != "]" or not characters:
            character = self.pattern[self.place]
            self.place += 1
            if character == "\\":
                characters += self._escaped()
            elif character == "-" and characters and self.pattern[self.place] != "]":
                last = self.pattern[self.place]
                self.place += 1
                characters += "".join(map(chr, range(ord(characters[-1]) + 1, ord(last) + 1)[:100]))
            else:
                characters += character
        self.place += 1
        return characters

    def _escaped(self) -> str:
        character = self.pattern[self.place]
        self.place += 1
        if character.isalnum():
            return _CLASSES.get(character, "")
        return character

    def _pick(self, characters: str) -> str:
        return characters[self._draw(len(characters))] if characters else ""

    def _draw(self, count: int) -> int:
        self.drawn += 1
        return self.chances[self.drawn % len(self.chances)] % count if count else 0

    def _take(self, character: str) -> bool:
        taken = self.pattern.startswith(character, self.place)
        self.place += taken
        return taken
