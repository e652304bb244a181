"""What rows will take, as ranges: from rows that have their answers, or from assumptions.

Pure arithmetic. A range is (low, likely, high); `high` is None where nothing bounds it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

_MINUTE = 60.0

_FEW = 3
"""Fewer rows than this say how large others are, and nothing about how they differ."""
_UNSURE = 2.0
"""The factor, either way, that a guess from so few rows is taken to be wrong by."""
_NORMAL = 1.96
# fmt: off
_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)
# fmt: on
"""The 97.5% quantile of Student's t for 1 to 30 degrees of freedom: 19 of 20 lie within either way."""


@dataclass(frozen=True, slots=True)
class Range:
    """An amount that is not known exactly."""

    low: float
    likely: float
    high: float | None
    """None: nothing bounds it."""

    def plus(self, other: Range) -> Range:
        """Both together, as if one were high when the other is."""
        high = None if self.high is None or other.high is None else self.high + other.high
        return Range(self.low + other.low, self.likely + other.likely, high)

    def times(self, factor: float) -> Range:
        """So many of it."""
        high = None if self.high is None else self.high * factor
        return Range(self.low * factor, self.likely * factor, high)

    def each(self, amount: Range) -> Range:
        """So many times `amount`."""
        high = None if self.high is None or amount.high is None else self.high * amount.high
        return Range(self.low * amount.low, self.likely * amount.likely, high)

    def at_least(self, other: Range) -> Range:
        """The larger one of each end."""
        high = None if self.high is None or other.high is None else max(self.high, other.high)
        return Range(max(self.low, other.low), max(self.likely, other.likely), high)

    def at_most(self, most: float) -> Range:
        """The same, as far as `most` allows."""
        high = most if self.high is None else min(self.high, most)
        return Range(min(self.low, most), min(self.likely, most), high)

    def spanning(self, other: float) -> Range:
        """The same, wide enough to hold `other` too, which is likely when it is more."""
        high = None if self.high is None else max(self.high, other)
        return Range(min(self.low, other), max(self.likely, other), high)


def exactly(amount: float) -> Range:
    """An amount that is known."""
    return Range(amount, amount, amount)


def projected(values: Sequence[float], rows: int, sizes: Sequence[float] = (), size: float = 0.0) -> Range:
    """What `rows` further rows add up to, by the `values` of rows like them (none below 0, one at least).

    With `sizes`, a size for each value, values are taken to grow in proportion, and `size` is that of
    the further rows together: a first page of short prompts then says what long ones take. The ends hold
    the true sum in about 19 of 20 cases where values are not too skewed: a prediction interval by
    Student's t, for the mean or for the ratio (Cochran, Sampling Techniques, chapters 2 and 6).
    """
    if not sizes or not sum(sizes) or not size:
        sizes, size = [1.0] * len(values), float(rows)
    ratio = sum(values) / sum(sizes)
    likely = ratio * size
    number = len(values)
    if number < _FEW:
        return Range(likely / _UNSURE, likely, likely * _UNSURE)
    squares = sum((value - ratio * one) ** 2 for value, one in zip(values, sizes, strict=True))
    deviation = math.sqrt(squares / (number - 1))
    half = _student(number - 1) * deviation * rows * math.sqrt(1 / number + 1 / rows) if rows else 0.0
    least = min(value / one for value, one in zip(values, sizes, strict=True) if one) * size
    return Range(max(likely - half, min(least, likely)), likely, likely + half)


def _student(freedom: int) -> float:
    return _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else _NORMAL * (1 + 1.25 / freedom)


UNLIMITED_ANSWER = 256.0
"""Tokens of an answer to a request that sets no limit."""
_SHORT_ANSWER = 16.0


def answer_tokens(most: float | None, *, choices: int = 1) -> Range:
    """What the answers to one request take when nothing is known but the `most` that it allows for all.

    Half of that is a guess, no more. `choices` is how many answers one request asks for.
    """
    if most is None:
        return Range(_SHORT_ANSWER, UNLIMITED_ANSWER, None).times(choices)
    return Range(min(_SHORT_ANSWER * choices, most / 4), most / 2, most)


def prompt_tokens(bytes_by_four: float) -> Range:
    """Tokens of prompts of which only the bytes are known, as `bytes / 4`.

    English prose has up to 5 bytes a token, code and scripts other than the Latin down to 2.7.
    """
    return Range(bytes_by_four * 0.8, bytes_by_four, bytes_by_four * 1.5)


def conversation_prompts(prompt: Range, answers: Range, answer: Range, added: float) -> Range:
    """Prompt tokens of a row that takes several `answers`, the transcript being sent again with each.

    `prompt` is what the first ask holds; each further one holds the answers before it, and `added`
    tokens with each: the next turn, the results of functions, or what was wrong.
    """

    def total(first: float, asks: float, length: float) -> float:
        return asks * first + asks * (asks - 1) / 2 * (length + added)

    return Range(
        total(prompt.low, answers.low, answer.low),
        total(prompt.likely, answers.likely, answer.likely),
        _highest(total, prompt, answers, answer if answers.high != 1 else exactly(0.0)),
    )


def _highest(total: Callable[[float, float, float], float], *amounts: Range) -> float | None:
    highs = [amount.high for amount in amounts if amount.high is not None]
    return total(*highs) if len(highs) == len(amounts) else None


def call_seconds(answer: Range) -> Range:
    """How long calls take of which only the length of the answer is known, by 1,000, 50 and 20 tokens/s."""
    high = None if answer.high is None else 3.0 + answer.high / 20
    return Range(0.1 + answer.low / 1_000, 1.0 + answer.likely / 50, high)


Hindrance = Literal["requests a minute", "tokens a minute", "calls under way", "completion window"]


@dataclass(frozen=True, slots=True)
class Pace:
    """What decides how fast rows go; None where there is no such limit.

    Attributes:
        at_once: calls under way at once: the fewest, the likely number, the most.
        aside: seconds that are not spent at full pace: before it is reached, and after the last call went.
    """

    rpm: float | None
    tpm: float | None
    at_once: Range
    reached: bool = False
    """Whether `at_once` is what an earlier submit reached, whatever kept it from more."""
    aside: Range = Range(0.0, 0.0, 0.0)


def duration(
    rows: int, calls: Range, tokens: Range, seconds: Range, pace: Pace
) -> tuple[Range, Hindrance | None]:
    """Seconds until `rows` rows have their answers, and what holds them up most.

    `calls` and `tokens` (as a server counts them) are those of all rows together, `seconds` those
    that one row is under way.
    """
    if not rows:
        return exactly(0.0), None
    worst: Hindrance = "calls under way"
    slowest = _in_flight(rows, seconds, pace.at_once)
    for kind, amount, limit in ((_RPM, calls, pace.rpm), (_TPM, tokens, pace.tpm)):
        if limit is None:
            continue
        found = amount.times(_MINUTE / limit).plus(seconds)  # the last calls take their time, too
        if found.likely > slowest.likely:
            worst = kind
        slowest = slowest.at_least(found)
    return slowest.plus(pace.aside), worst


_RPM: Hindrance = "requests a minute"
_TPM: Hindrance = "tokens a minute"


def _in_flight(rows: int, seconds: Range, at_once: Range) -> Range:
    """How long rows take that each are under way for `seconds`, when nothing but their number holds them."""

    def taken(each: float, slots: float | None) -> float:
        return each * max(1.0, rows / slots) if slots else each

    high = None if seconds.high is None else taken(seconds.high, at_once.low)
    return Range(taken(seconds.low, at_once.high), taken(seconds.likely, at_once.likely), high)
