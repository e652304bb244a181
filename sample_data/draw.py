"""Seeded choices, and phrases made of them."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Words: TypeAlias = Mapping[str, Sequence[str]]
"""Lists of words, by the slot they fill."""
NO_WORDS: Words = {}

_ALTERNATIVES = re.compile(r"\[([^][]*\|[^][]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"(?<!\S)[a-z]{5,}(?!\S)")


class Draw:
    """Choices from one seed, made of `random()` alone: the one sequence Python keeps across versions."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed).random
        self._decks: dict[tuple[Any, ...], list[Any]] = {}

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def number(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        return options[self.number(0, len(options) - 1)]

    def deal(self, options: Sequence[T]) -> T:
        """One of `options`, and none a second time before all have been dealt once."""
        deck = self._decks.setdefault(tuple(options), [])
        if not deck:
            deck += sorted(options, key=lambda _: self._random())
        option: T = deck.pop()
        return option

    def several(self, options: Sequence[T], count: int) -> list[T]:
        """`count` different ones of `options`, or all of them when they are fewer."""
        dealt: dict[T, None] = {}
        while len(dealt) < min(count, len(set(options))):
            dealt[self.deal(options)] = None
        return list(dealt)

    def say(
        self, phrases: Sequence[str], slots: Mapping[str, str], words: Words = NO_WORDS, count: int = 1
    ) -> list[str]:
        """`count` of `phrases`, their `[a|b]` chosen and their `{slot}` filled from `slots`, else `words`."""
        return [self._spell(phrase, slots, words) for phrase in self.several(phrases, count)]

    def _spell(self, phrase: str, slots: Mapping[str, str], words: Words) -> str:
        phrase = _ALTERNATIVES.sub(lambda match: self.pick(match[1].split("|")), phrase)
        return _SLOT.sub(lambda match: slots.get(match[1]) or self.deal(words[match[1]]), phrase)

    def misspell(self, text: str) -> str:
        """`text` with two letters of one longer word swapped, or one of them lost."""
        words = [match.span() for match in _WORD.finditer(text)]
        if not words:
            return text
        start, end = self.pick(words)
        at = self.number(start + 1, end - 3)
        swapped = text[at] if self.chance(0.6) else ""
        return text[:at] + text[at + 1] + swapped + text[at + 2 :]
