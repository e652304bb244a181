"""The job file's section `checks`: how many of the finished rows must be of a kind."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, TypeAlias

from pydantic import PlainValidator, WithJsonSchema

from batchrun.job.document.interpolate import Expanded
from batchrun.job.sections.fields import Text

_COMPARISONS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_SLIPS = {"=<": "<=", "≤": "<=", "=>": ">=", "≥": ">=", "==": "="}
"""How signs are spelled elsewhere."""

_FORM = r"([<>]=?|=) *([0-9]{1,15}|(?:100(?:\.0{1,9})?|[0-9]{1,2}(?:\.[0-9]{1,9})?) *%)"
_PARTS = re.compile(_FORM)
_DECIMAL = re.compile(r"([<>]=?|=) *(0?\.[0-9]{1,9})")
_EXPECTED = (
    'must be a comparison with a percentage of the finished rows, ">= 99%", or with a number of rows, "<= 3"'
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many rows there have to be: `>= 99%` of all that are finished, or `<= 3`.

    `amount` is a share from 0 to 1 where `is_share`, else a number of rows. It is exact: 99.9% of 1,000 rows
    are 999.
    """

    sign: str
    amount: Fraction
    is_share: bool

    def holds(self, found: int, rows: int) -> bool:
        """Whether `found` of all `rows` are as many as they should be; of no rows any share holds."""
        if self.is_share and not rows:
            return True
        return _COMPARISONS[self.sign](Fraction(found), self._bound(rows))

    def asks_for_more(self, found: int, rows: int) -> bool:
        """Whether `found` rows, which do not satisfy it, are too few; else they are too many."""
        return self.sign in (">", ">=") or (self.sign == "=" and found < self._bound(rows))

    def _bound(self, rows: int) -> Fraction:
        return self.amount * rows if self.is_share else self.amount

    def __str__(self) -> str:
        if not self.is_share:
            return f"{self.sign} {self.amount}"
        return f"{self.sign} {float(self.amount * 100):.9f}".rstrip("0").rstrip(".") + "%"


@dataclass(frozen=True, slots=True)
class Check:
    """A gate: `name` says which rows are counted, as the job spells it."""

    name: str
    wanted: Wanted


def _wanted(value: Any) -> Wanted:
    found = _PARTS.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        # what a variable holds is never quoted
        is_written = isinstance(value, str) and not isinstance(value, Expanded)
        raise ValueError(f"{_EXPECTED}{_meant(value.strip()) if is_written else ''}")
    sign, amount = found.groups()
    if not amount.endswith("%"):
        return Wanted(sign, Fraction(amount), is_share=False)
    return Wanted(sign, Fraction(amount.rstrip("% ")) / 100, is_share=True)


def _meant(text: str) -> str:
    """The right spelling of a near one."""
    if not text:  # what is left of `>3`
        return ", in quotes: > opens a block of text in YAML"
    for slip, sign in _SLIPS.items():
        text = text.replace(slip, sign, 1)
    if _PARTS.fullmatch(text):
        return f': write "{text}"'
    if found := _DECIMAL.fullmatch(text):
        return f': write "{Wanted(found[1], Fraction(found[2]), is_share=True)}"'
    return ""


Comparison: TypeAlias = Annotated[
    Wanted,
    PlainValidator(_wanted),
    WithJsonSchema({"type": "string", "pattern": f"^ *{_FORM} *$"}),
]
Checks: TypeAlias = dict[Text, Comparison]


def no_row_fails() -> Checks:
    """The checks of a job that gives none."""
    return {"failed": Wanted("<=", Fraction(0), is_share=False)}
